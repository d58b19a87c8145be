import re
import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from batch_assets.contracts.severity import Severity
from batch_assets.errors import ConfigurationError
from batch_assets.settings import DatabaseSettings, LoadingSettings, load_settings
from batch_assets.sources.market.feed import (
    FileFeed,
    FileFormat,
    VendorFeed,
    build_feeds,
)
from batch_assets.sources.market.file_names import file_format
from batch_assets.sources.market.symbols import SymbolRule
from batch_assets_tests.sources.market.conftest import FeedMaker

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colums": {}}, r"\[market.feeds.small\] colums: Extra inputs"),
        ({"columns": {"opening": "x"}}, r"columns.opening: Extra inputs"),
        ({"layout": "by_week"}, "layout: Input should be 'by_day' or 'by_symbol'"),
        ({"encoding": "gbkk"}, "encoding: .*no such encoding"),
        ({"date_format": "yyyy"}, "date_format: .*is not known; write one of auto"),
        ({"volume_unit": "dozen"}, "volume_unit"),
        ({"volume_unit": 0}, "volume_unit.*above zero"),
        ({"calendar": "XMOON"}, "close of calendar 'XMOON' is not known"),
        ({"time_zone": "Mars/Base"}, "'Mars/Base' is not an IANA name"),
        ({"header": False, "columns": {"close": "Close"}}, "header = false; write its position"),
        ({"suspended_values": ["0"]}, "suspended_values needs columns.status"),
        ({"symbol": {"pattern": "("}}, "symbol.pattern: .*not a regular expression"),
        ({"reject_limit_ratio": 2}, "reject_limit_ratio"),
    ],
)
def test_a_wrong_setting_is_named(
    make_feed: FeedMaker, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_feed(**settings)


def test_an_unknown_key_beside_the_feeds_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected only default_feed and feeds"):
        build_feeds({"default": "x"}, tmp_path)


def test_a_default_feed_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="default_feed is 'x', expected one of no feeds"):
        build_feeds({"default_feed": "x"}, tmp_path)


def test_adjusted_and_raw_prices_never_share_a_source(tmp_path: Path) -> None:
    body = {"folder": ".", "layout": "by_day", "calendar": "XSHG", "source": "same"}
    feeds = {"one": {**body, "prices": "raw"}, "two": {**body, "prices": "qfq"}}

    with pytest.raises(ConfigurationError, match="adjusted and raw prices never mix"):
        build_feeds({"feeds": feeds}, tmp_path)


def test_the_default_feed_comes_first(tmp_path: Path) -> None:
    body = {"folder": ".", "layout": "by_day", "calendar": "XSHG"}

    feeds = build_feeds({"default_feed": "b", "feeds": {"a": body, "b": body}}, tmp_path)

    assert list(feeds) == ["b", "a"]


@pytest.mark.parametrize(
    ("unit", "shares"), [("share", 1), ("lot", 100), (1000, 1000), ("0.5", "0.5")]
)
def test_a_volume_unit_is_a_word_or_a_number(make_feed: FeedMaker, unit: Any, shares: Any) -> None:
    assert make_feed(volume_unit=unit).volume_scale == Decimal(shares)


def test_the_calendar_brings_close_and_time_zone(make_feed: FeedMaker) -> None:
    shanghai, new_york = make_feed(), make_feed(calendar="XNYS")
    day = date(2024, 7, 1)

    assert shanghai.closes_on(day) == datetime(2024, 7, 1, 7, 0, tzinfo=UTC)
    assert new_york.closes_on(day) == datetime(2024, 7, 1, 20, 0, tzinfo=UTC)
    assert make_feed(calendar="24/7").closes_on(day) == datetime(2024, 7, 2, tzinfo=UTC)


def test_the_default_schedule_runs_just_after_the_file_is_due(make_feed: FeedMaker) -> None:
    assert make_feed().cron == "1 16 * * *"
    assert make_feed(closes_at="16:30:00", ready_after_minutes=0).cron == "31 16 * * *"
    assert make_feed(schedule="0 20 * * 1-5").cron == "0 20 * * 1-5"


def test_adjusted_prices_only_warn_about_their_order(make_feed: FeedMaker) -> None:
    assert make_feed().ohlc_severity is Severity.REJECT
    assert make_feed(prices="qfq").ohlc_severity is Severity.WARN
    assert make_feed(ohlc_rule="warn").ohlc_severity is Severity.WARN


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", FileFormat.CSV), ("a.TXT", FileFormat.CSV), ("a.csv.gz", FileFormat.CSV_GZ),
        ("a.zip", FileFormat.ZIP), ("a.parquet", FileFormat.PARQUET), ("a.xlsx", FileFormat.XLSX),
        ("README", None),
    ],
)  # fmt: skip
def test_the_format_is_told_by_the_name(
    make_feed: FeedMaker, name: str, expected: FileFormat | None
) -> None:
    assert file_format(make_feed(), name) is expected


def test_the_shipped_configuration_has_the_examples_as_default_feed() -> None:
    settings = load_settings({"BATCH_ASSETS_CONFIG": str(PROJECT / "batch_assets.toml")})

    feeds = build_feeds(settings.section("market"), settings.config_dir)

    assert next(iter(feeds)) == "examples"
    assert feeds["examples"].folder == PROJECT / "examples" / "market" / "cn_by_day"


@pytest.mark.parametrize(
    "model",
    [FileFeed, VendorFeed, SymbolRule, DatabaseSettings, LoadingSettings],
    ids=lambda model: model.__name__,
)
def test_every_setting_stands_in_the_shipped_configuration(model: type[BaseModel]) -> None:
    text = (PROJECT / "batch_assets.toml").read_text("utf-8")
    by_table_name = {"name", "columns", "symbol"}  # these are the names of tables

    stated = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))

    assert set(model.model_fields) - by_table_name <= stated


def test_the_shipped_baostock_feed_needs_nothing_but_to_be_the_default() -> None:
    settings = load_settings({"BATCH_ASSETS_CONFIG": str(PROJECT / "batch_assets.toml")})
    section = {**settings.section("market"), "default_feed": "baostock"}

    default = next(iter(build_feeds(section, settings.config_dir).values()))

    assert isinstance(default, VendorFeed)
    assert default.place == "baostock (public-api.baostock.com:10030)"
    assert default.cron == "1 18 * * *"


def test_the_commented_feeds_of_vendors_are_valid(tmp_path: Path) -> None:
    text = (PROJECT / "batch_assets.toml").read_text("utf-8")
    begin, end = text.index("# [market.feeds.tushare]"), text.index("# Every setting of a feed of")
    lines = re.sub(r"^# ?", "", text[begin:end], flags=re.MULTILINE).splitlines()
    toml = "\n".join(line for line in lines if "=" in line or line.startswith("["))

    feeds = build_feeds(tomllib.loads(toml)["market"], tmp_path)

    assert set(feeds) == {"tushare", "massive", "eodhd", "yahoo", "eastmoney", "my_vendor"}
    assert all(isinstance(feed, VendorFeed) for feed in feeds.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vendor": "tusharee"}, "vendor: no vendor 'tusharee'; expected one of baostock"),
        ({"vendor": ["tushare"]}, "vendor: "),
        ({"vendor": "tushare", "folder": "x"}, "folder: Extra inputs"),
        ({"vendor": "tushare", "base_url": "api.tushare.pro"}, "base_url: .*http://"),
        ({"vendor": "tushare", "base_url": "http://x/?a=b"}, "base_url: .*no query"),
        ({"vendor": "yahoo"}, ".*answers by symbol only; write symbols or symbols_file"),
        ({"vendor": "baostock", "port": 70000}, "port: "),
        ({"vendor": "baostock", "attempts": 0}, "attempts: "),
    ],
)
def test_a_wrong_setting_of_a_vendor_is_named(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[market.feeds.small\] {message}"):
        build_feeds({"feeds": {"small": settings}}, tmp_path)


def test_a_feed_by_symbol_loads_a_range_in_one_run(tmp_path: Path) -> None:
    by_symbol = {"vendor": "yahoo", "symbols": ["AAPL.US"]}
    feeds = {"many": {"vendor": "baostock", "max_partitions_per_run": 7}, "one": by_symbol}

    built = build_feeds({"feeds": feeds}, tmp_path)

    assert built["many"].max_days_per_run == 7
    assert built["one"].max_days_per_run is None


def test_the_commented_example_of_a_feed_is_valid(tmp_path: Path) -> None:
    text = (PROJECT / "batch_assets.toml").read_text("utf-8")
    # Other sections follow after an empty line.
    example = text[text.index("# [market.feeds.my_feed]") :].partition("\n\n")[0]
    plain = re.sub(r"^# ?", "", example, flags=re.MULTILINE)

    feeds = build_feeds(tomllib.loads(plain)["market"], tmp_path)

    assert feeds["my_feed"].symbol.value == "AAPL"
