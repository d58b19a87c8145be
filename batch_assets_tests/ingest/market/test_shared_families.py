"""Every real family goes through the whole core, and the table gives its control totals."""

import csv
import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import Feed, build_feeds
from batch_assets.sources.market.file_names import list_files
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.sources.market.test_shared_families import days_of

PROJECT = Path(__file__).resolve().parents[3]
MARKET = PROJECT.parent / "shared" / "data" / "market"
FEEDS_FILE = PROJECT / "batch_assets_tests" / "shared_feeds.toml"
FEEDS = build_feeds(tomllib.loads(FEEDS_FILE.read_text("utf-8"))["market"], FEEDS_FILE.parent)
NOW = datetime(2026, 11, 20, tzinfo=UTC)

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(
        not MARKET.is_dir(), reason="the shared market files are not beside the project"
    ),
]


@pytest.fixture(scope="session")
def stated() -> dict[str, dict[str, str]]:
    with (MARKET / "manifest.csv").open(encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def sync(url: str, feed: Feed, cache_dir: Path) -> list[DayReport]:
    """Load every day that the family has rows for."""
    source = open_feed(feed, cache_dir)
    options = options_of(feed, LoadingSettings())
    return list(
        sync_days(
            partial(connect, url, application_name="test"),
            feed,
            source,
            days_of(feed),
            now=NOW,
            options=options,
        )
    )


# Thousands of days of a few rows each, which take up to 20 seconds.
MANY_DAYS = {
    "cn_tushare_by_stock",
    "crypto_binance_1d",
    "tw_twse_roc_dates",
    "us_huge_stooq_txt",
    "us_lean_zip",
    "us_misc_bokeh",
    "xlsx",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in MANY_DAYS else []) for name in FEEDS],
)
def test_the_table_gives_the_control_totals_and_a_second_run_changes_nothing(
    name: str, postgres: str, stated: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    feed = FEEDS[name]

    reports = sync(postgres, feed, tmp_path)
    again = sync(postgres, feed, tmp_path)

    assert {report.load.state for report in reports} == {LoadState.SUCCESS}
    expected = totals(stated[path] for path in names_of(feed))
    ledger = sum((report.load.ledger for report in reports), Ledger())
    assert ledger == Ledger(read=expected["rows"], inserted=expected["rows"])
    with connect(postgres, application_name="test") as conn:
        rows, volume, close = conn.execute(
            "SELECT count(*), sum(volume), sum(close) FROM market.daily_bars WHERE source = %s",
            (feed.source_name,),
        ).fetchone()
    assert rows == expected["rows"]
    assert math.isclose(volume / feed.volume_scale, expected["volume"], rel_tol=1e-9)
    assert math.isclose(close / feed.price_scale, expected["close"], rel_tol=1e-9)
    assert {report.load.recognised_by for report in again} == {RecognisedBy.SOURCE_HASH}
    assert sum((r.load.ledger for r in again), Ledger()) == Ledger(
        read=expected["rows"], unchanged=expected["rows"]
    )


def names_of(feed: Feed) -> list[str]:
    return [path.resolve().relative_to(MARKET.resolve()).as_posix() for path in list_files(feed)]


def totals(rows: Iterable[dict[str, str]]) -> dict[str, Decimal]:
    result: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        result["rows"] += int(row["rows"])
        result["volume"] += Decimal(row["sum_volume_raw"])
        result["close"] += Decimal(row["sum_close_raw"])
    return result
