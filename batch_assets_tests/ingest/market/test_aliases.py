"""Renamed symbols, from files and vendors to rows under the instrument's symbol."""

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.ingest.market.instruments import sync_aliases
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState, RecognisedBy
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import Feed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.fakes.bars import make_bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import massive_answers
from batch_assets_tests.sources.market.vendors.conftest import NOW, build_vendor_feed, secret

BEFORE, AFTER, LATER = date(2024, 9, 27), date(2024, 9, 30), date(2024, 10, 1)
HEADER = "date,symbol,open,high,low,close,volume"

Sync = Callable[[Feed, Sequence[date]], dict[date, DayReport]]


@pytest.fixture
def sync(postgres: str, tmp_path: Path) -> Sync:
    def run(feed: Feed, days: Sequence[date]) -> dict[date, DayReport]:
        source = open_feed(feed, tmp_path / "cache", secret=secret)
        reports = sync_days(
            partial(connect, postgres, application_name="test"),
            feed,
            source,
            days,
            now=NOW,
            options=options_of(feed, LoadingSettings(publish_connections=1)),
        )
        return {date.fromisoformat(report.key): report for report in reports}

    return run


def rename(url: str, valid_from: date, valid_to: date | None) -> None:
    rows = pa.table(
        {
            "alias": ["FB.US"],
            "valid_from": [valid_from],
            "valid_to": pa.array([valid_to], pa.date32()),
            "symbol": ["META.US"],
        }
    )
    sync_aliases(partial(connect, url, application_name="test"), "us", rows, origin="mine")


def files(folder: Path, *symbols: str, **symbol: object) -> Feed:
    for day in (BEFORE, AFTER, LATER):
        rows = [f"{day},{name},10,11,9,{10 + n},10{day.day}" for n, name in enumerate(symbols)]
        (folder / f"{day}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    body = {
        "folder": str(folder),
        "layout": "by_day",
        "files": "{date}.csv",
        "calendar": "XNYS",
        "symbol": {"exchange": "US", **symbol},
    }
    return build_feeds({"feeds": {"us": body}}, folder)["us"]


def stored(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as conn:
        query = "SELECT trade_date::text, symbol FROM market.daily_bars ORDER BY 1, 2"
        return [(day, symbol) for day, symbol in conn.execute(query)]


def test_renamed_symbol_is_stored_under_its_instrument_in_the_days_of_the_alias(
    sync: Sync, postgres: str, tmp_path: Path
) -> None:
    rename(postgres, BEFORE, LATER)

    reports = sync(files(tmp_path, "AAPL", "FB"), [BEFORE, AFTER, LATER])

    assert {report.load.state for report in reports.values()} == {LoadState.SUCCESS}
    assert stored(postgres) == [
        ("2024-09-27", "AAPL.US"),
        ("2024-09-27", "META.US"),
        ("2024-09-30", "AAPL.US"),
        ("2024-09-30", "META.US"),
        ("2024-10-01", "AAPL.US"),
        ("2024-10-01", "FB.US"),
    ]


def test_second_run_is_recognised_and_an_alias_that_came_since_is_not_missed(
    sync: Sync, postgres: str, tmp_path: Path
) -> None:
    feed = files(tmp_path, "AAPL", "FB")
    rename(postgres, BEFORE, AFTER)

    first = sync(feed, [BEFORE, AFTER])
    again = sync(feed, [BEFORE, AFTER])
    rename(postgres, BEFORE, None)
    renamed = sync(feed, [BEFORE, AFTER])

    assert first[AFTER].load.ledger == Ledger(read=2, inserted=2)
    assert again[BEFORE].load.recognised_by is RecognisedBy.SOURCE_HASH
    assert renamed[BEFORE].load.recognised_by is RecognisedBy.SOURCE_HASH
    assert renamed[AFTER].load.ledger == Ledger(read=2, inserted=1, unchanged=1)
    # What was stored under the old name stays: a source never deletes what it leaves out.
    assert ("2024-09-30", "FB.US") in stored(postgres)


def test_both_names_on_one_day_are_a_conflict_and_never_mixed(
    sync: Sync, postgres: str, tmp_path: Path
) -> None:
    rename(postgres, BEFORE, None)
    feed = files(tmp_path, "FB", "META").model_copy(update={"reject_limit_ratio": 1.0})

    report = sync(feed, [AFTER])[AFTER]

    assert report.load.ledger == Ledger(read=2, rejected=2)
    assert set(report.load.reject_reasons) == {"conflicting_duplicate_key"}


def test_aliases_of_the_feed_are_about_spellings_and_come_first(
    sync: Sync, postgres: str, tmp_path: Path
) -> None:
    rename(postgres, BEFORE, None)

    sync(files(tmp_path, "FACEBOOK", aliases={"FACEBOOK": "FB"}), [AFTER])

    assert stored(postgres) == [("2024-09-30", "META.US")]


def test_rows_of_a_vendor_are_renamed_too(sync: Sync, postgres: str) -> None:
    rename(postgres, BEFORE, None)
    bars = [make_bar(symbol, AFTER, "20.50") for symbol in ("AAPL.US", "FB.US")]
    with HttpVendorServer(massive_answers({AFTER.isoformat(): bars})) as server:
        feed = build_vendor_feed("massive", base_url=server.base_url, source="us")
        report = sync(feed, [AFTER])[AFTER]

    assert report.load.state is LoadState.SUCCESS
    assert stored(postgres) == [("2024-09-30", "AAPL.US"), ("2024-09-30", "META.US")]


def test_aliases_of_another_source_do_not_count(sync: Sync, postgres: str, tmp_path: Path) -> None:
    rename(postgres, BEFORE, None)
    feed = files(tmp_path, "FB").model_copy(update={"source": "other"})

    sync(feed, [AFTER])

    assert stored(postgres) == [("2024-09-30", "FB.US")]
