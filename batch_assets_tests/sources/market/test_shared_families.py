"""Real files of many vendors load by mapping alone, and their control totals come out.

The totals were computed by other tools, in the raw units of each file.
"""

import csv
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc
import pytest

from batch_assets.contracts.batch import SourceBatch
from batch_assets.contracts.severity import Severity
from batch_assets.sources.market.containers import identify
from batch_assets.sources.market.contract import daily_bars_contract
from batch_assets.sources.market.feed import Adjustment, Feed, build_feeds
from batch_assets.sources.market.file_names import list_files
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.readers import read_tables
from batch_assets.sources.market.source import DayState
from batch_assets.sources.market.spellings import Spellings

PROJECT = Path(__file__).resolve().parents[3]
MARKET = PROJECT.parent / "shared" / "data" / "market"
FEEDS_FILE = PROJECT / "batch_assets_tests" / "shared_feeds.toml"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
FEEDS = build_feeds(tomllib.loads(FEEDS_FILE.read_text("utf-8"))["market"], FEEDS_FILE.parent)

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(
        not MARKET.is_dir(), reason="the shared market files are not beside the project"
    ),
]


@dataclass
class Totals:
    rows: int = 0
    read_rows: int = 0
    rejected: int = 0
    zero_volume_rows: int = 0
    volume: Decimal = Decimal(0)
    close: Decimal = Decimal(0)

    def add(self, batch: SourceBatch, feed: Feed) -> None:
        rows = batch.rows
        self.read_rows += batch.read_rows
        self.rows += rows.num_rows
        self.rejected += len(batch.rejected)
        self.zero_volume_rows += pc.sum(pc.equal(rows["volume"], 0)).as_py() or 0
        self.volume += (pc.sum(rows["volume"]).as_py() or 0) / feed.volume_scale
        self.close += (pc.sum(rows["close"]).as_py() or 0) / feed.price_scale


@pytest.fixture(scope="session")
def manifest() -> dict[str, dict[str, str]]:
    with (MARKET / "manifest.csv").open(encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def batches_of(feed: Feed, path: Path) -> Iterator[SourceBatch]:
    parser = BarParser(feed, Spellings(feed))
    identity = identify(path, feed.folder)
    for table in read_tables(path, identity, feed, parser.numbers):
        yield parser.parse(table, None)


def assert_equal(seen: Totals, expected: dict[str, str], file: str) -> None:
    assert seen.rejected == 0, file
    assert seen.read_rows == seen.rows == int(expected["rows"]), file
    assert seen.zero_volume_rows == int(expected["zero_volume_rows"]), file
    assert is_total(seen.volume, expected["sum_volume_raw"], decimals=6), file
    assert is_total(seen.close, expected["sum_close_raw"], decimals=4), file


def is_total(seen: Decimal, expected: str, *, decimals: int) -> bool:
    # The manifest states rounded sums of binary floats, so half a last digit is allowed.
    return math.isclose(seen, Decimal(expected), rel_tol=1e-9, abs_tol=0.6 * 10**-decimals)


@pytest.mark.parametrize("name", FEEDS)
def test_every_file_of_the_family_gives_its_control_totals(
    name: str, manifest: dict[str, dict[str, str]]
) -> None:
    feed = FEEDS[name]

    paths = list_files(feed)

    assert paths
    for path in paths:
        seen = Totals()
        for batch in batches_of(feed, path):
            seen.add(batch, feed)
        file = path.resolve().relative_to(MARKET.resolve()).as_posix()
        assert_equal(seen, manifest[file], file)


def test_every_data_file_of_the_manifest_belongs_to_a_feed(
    manifest: dict[str, dict[str, str]],
) -> None:
    covered = {
        path.resolve().relative_to(MARKET.resolve()).as_posix()
        for feed in FEEDS.values()
        for path in list_files(feed)
    }

    assert covered == set(manifest)


def days_of(feed: Feed) -> list[date]:
    """Every day of the files, found without the source under test."""
    days: set[date] = set()
    for path in list_files(feed):
        for batch in batches_of(feed, path):
            days.update(pc.unique(batch.rows["trade_date"]).to_pylist())
    return sorted(days)


@pytest.mark.parametrize("name", FEEDS)
def test_day_by_day_the_source_gives_the_totals_of_the_family(
    name: str, manifest: dict[str, dict[str, str]], calendar_cache: Path
) -> None:
    feed = FEEDS[name]
    source = open_feed(feed, calendar_cache)
    rows, volume = 0, Decimal(0)

    for day in days_of(feed):
        opened = source.open_day(day, now=NOW)
        assert opened.state is DayState.READY, opened.message
        for batch in opened.read():
            assert batch.rejected == ()
            rows += batch.rows.num_rows
            volume += pc.sum(batch.rows["volume"]).as_py() / feed.volume_scale

    files = [path.resolve().relative_to(MARKET.resolve()).as_posix() for path in list_files(feed)]
    stated = [manifest[file] for file in files]
    assert source.undated(now=NOW) == ()
    assert rows == sum(int(row["rows"]) for row in stated)
    assert math.isclose(volume, sum(Decimal(row["sum_volume_raw"]) for row in stated), rel_tol=1e-9)


@pytest.mark.parametrize("name", ["cn_tushare_by_day", "in_nse_secfull_by_day", "cn_baostock"])
def test_genuine_bars_break_no_rule_that_rejects(name: str) -> None:
    feed = FEEDS[name]
    rules = daily_bars_contract(feed).rules

    for path in list_files(feed):
        for batch in batches_of(feed, path):
            broken = {
                rule.name: pc.sum(rule.broken(batch.rows)).as_py() or 0
                for rule in rules
                if rule.severity is Severity.REJECT
            }
            assert sum(broken.values()) == 0, (path.name, broken)


def test_adjusted_prices_declared_as_raw_are_found_out_on_every_day() -> None:
    feed = FEEDS["cn_tushare_by_day"].model_copy(update={"prices": Adjustment.RAW})
    (rule,) = (r for r in daily_bars_contract(feed).rules if r.name == "vwap_outside_range")
    assert rule.window_limit_ratio is not None

    for path in list_files(feed):
        for batch in batches_of(feed, path):
            ratio = (pc.sum(rule.broken(batch.rows)).as_py() or 0) / batch.rows.num_rows
            assert ratio > rule.window_limit_ratio, path.name
