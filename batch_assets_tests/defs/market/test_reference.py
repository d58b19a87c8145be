"""What vendors say beside bars, as Dagster sees it; the vendors are fakes on loopback."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from batch_assets.defs.market.reference_automation import reference_cron
from batch_assets.defs.market.reference_keys import reference_names
from batch_assets.sources.market.feed import Feed, build_feeds
from batch_assets_tests.defs.market_files import (
    HOLIDAY,
    Market,
    evaluations,
    failure_text,
    materializations,
)
from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.bars import Bar, a_share_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import tushare_answers

FRIDAY, MONDAY, TUESDAY = date(2024, 9, 27), date(2024, 9, 30), date(2024, 10, 8)
SESSIONS = (FRIDAY, MONDAY, TUESDAY)
REFERENCE, BARS, VIEWS = "market_reference_cn", "market_sync", "market_adjusted_cn"


def baostock_code(bar: Bar) -> str:
    return f"{bar.exchange.lower()}.{bar.code}"


@pytest.fixture
def server() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        for day in SESSIONS:
            server.add_day(day, a_share_market(day, 60))
            server.statuses[day.isoformat()] = [["sh.600099", "0", "邯郸钢铁"]]
        codes = [baostock_code(bar) for bar in a_share_market(MONDAY, 60)]
        server.listed = [[code, "x", "1999-11-10", "", "1", "1"] for code in [*codes, "sh.600099"]]
        server.factors = {
            "sh.600001": [
                ["sh.600001", "2015-06-23", "0.5", "2", "2"],
                ["sh.600001", "2024-09-30", "1.000000", "2.5", "2.5"],
            ]
        }
        yield server


@pytest.fixture
def cn(market: Market, server: BaostockServer) -> Market:
    lines = [
        "[market.feeds.cn]",
        'vendor = "baostock"',
        'host = "127.0.0.1"',
        f"port = {server.port}",
        "attempts = 2",
        "first_wait_seconds = 0.01",
    ]
    market.feeds = {"cn": "\n".join(lines) + "\n"}
    return market


def use_tushare(market: Market, server: HttpVendorServer) -> None:
    lines = ['vendor = "tushare"', f'base_url = "{server.base_url}"', 'token_env = "TOKEN_OF_TEST"']
    market.feeds = {"cn": "[market.feeds.cn]\n" + "\n".join(lines) + "\n"}
    market.environment["TOKEN_OF_TEST"] = "token"


def stored_keys(result: dg.ExecuteInProcessResult, name: str) -> list[str | None]:
    return sorted(
        str(event.step_materialization_data.materialization.partition)
        for event in result.all_events
        if event.is_step_materialization and event.asset_key and event.asset_key.path[-1] == name
    )


def verdicts(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], bool]:
    return {
        (found.asset_key.path[-1], found.check_name): found.passed for found in evaluations(result)
    }


def test_lists_bars_and_views_follow_each_other(cn: Market, server: BaostockServer) -> None:
    lists = cn.sync("2024-09-27", "2024-10-08", job=REFERENCE)
    bars = cn.sync("2024-09-27", "2024-10-08", job=BARS)
    views = cn.sync("2024-09-27", "2024-10-08", job=VIEWS)

    assert lists.success, failure_text(lists)
    days = [f"2024-09-{d}" for d in (27, 28, 29, 30)] + [f"2024-10-0{d}" for d in range(1, 9)]
    assert stored_keys(lists, "suspensions") == days
    assert stored_keys(lists, "adjustment_factors") == days
    assert stored_keys(lists, "instruments") == ["None"]
    assert all(verdicts(lists).values())
    assert bars.success
    complete = next(e for e in evaluations(bars) if e.check_name.startswith("complete"))
    assert complete.passed
    assert complete.metadata["days_with_a_universe"].value == 3
    assert complete.metadata["missing_symbols"].value == 0
    assert views.success, failure_text(views)
    assert stored_keys(views, "daily_bars_qfq") == stored_keys(views, "daily_bars_hfq") == days
    assert server.most_open == 1
    raw = cn.rows(
        "SELECT q.trade_date::text, q.factor, round(q.close / b.close, 3)"
        " FROM market.daily_bars_qfq AS q JOIN market.daily_bars AS b"
        " USING (source, symbol, trade_date) WHERE symbol = '600001.SH' ORDER BY 1"
    )
    assert raw == [
        ("2024-09-27", Decimal("0.8"), Decimal("0.800")),
        ("2024-09-30", 1, 1),
        ("2024-10-08", 1, 1),
    ]


def test_day_that_lacks_listed_symbols_is_partial_against_the_vendors_universe(
    cn: Market, server: BaostockServer
) -> None:
    server.add_day(MONDAY, a_share_market(MONDAY, 30))
    cn.sync("2024-09-30", job=REFERENCE)

    bars = cn.sync("2024-09-30", job=BARS)

    day = materializations(bars)["2024-09-30"]
    assert day.metadata["state"].value == "partial"
    assert "30 of 60 symbols that are listed and not suspended" in str(
        day.metadata["summary"].value
    )


def test_view_of_a_day_without_factors_is_not_materialised_and_blocks(
    cn: Market, server: BaostockServer
) -> None:
    cn.sync("2024-09-27", "2024-10-08", job=BARS)
    cn.sync("2024-09-27", job=REFERENCE)
    cn.sync("2024-10-08", job=REFERENCE)

    views = cn.sync("2024-09-27", "2024-10-08", job=VIEWS)

    assert not views.success
    assert "2024-09-30" not in stored_keys(views, "daily_bars_qfq")
    assert "2024-09-27" in stored_keys(views, "daily_bars_qfq")
    [verdict] = [e for e in evaluations(views) if e.asset_key.path[-1] == "daily_bars_qfq"]
    assert verdict.blocking
    assert not verdict.passed
    assert verdict.description is not None
    assert "1 days with bars whose factors were not read (2024-09-30)" in verdict.description
    assert "materialize adjustment_factors" in verdict.description


def test_views_run_by_themselves_once_bars_and_factors_of_a_day_are_there(cn: Market) -> None:
    definitions = cn.definitions()
    at = datetime(2024, 10, 9, 4, tzinfo=ZoneInfo("UTC"))

    def wanted(cursor: object) -> tuple[object, list[str]]:
        result = dg.evaluate_automation_conditions(
            defs=definitions, instance=cn.instance, cursor=cursor, evaluation_time=at
        )
        keys = [
            str(subset.key.path[-1])
            + ":"
            + ",".join(sorted(subset.expensively_compute_partition_keys()))
            for subset in [item.true_subset for item in result.results]
            if not subset.is_empty
        ]
        return result.cursor, sorted(keys)

    cursor, before = wanted(None)
    cn.sync("2024-10-08", job=BARS)
    cursor, only_bars = wanted(cursor)
    cn.sync("2024-10-08", job=REFERENCE)
    cursor, both = wanted(cursor)

    assert before == only_bars == []
    assert both == ["daily_bars_hfq:2024-10-08", "daily_bars_qfq:2024-10-08"]


def test_lineage_and_pools_of_a_vendor(cn: Market) -> None:
    graph = cn.definitions().resolve_asset_graph()

    def parents(name: str) -> list[str]:
        keys = graph.get(dg.AssetKey(["market", "cn", name])).parent_keys
        return sorted(key.path[-1] for key in keys)

    assert parents("daily_bars") == ["instruments", "suspensions"]
    assert parents("daily_bars_qfq") == ["adjustment_factors", "daily_bars"]
    assert parents("daily_bars_hfq") == ["adjustment_factors", "daily_bars"]
    for name in ("instruments", "suspensions", "adjustment_factors", "daily_bars"):
        assert graph.get(dg.AssetKey(["market", "cn", name])).pools == {"vendor_baostock"}


def test_schedule_reads_the_day_and_the_week_before_it_ahead_of_the_bars(cn: Market) -> None:
    schedule = cn.definitions().resolve_schedule_def(f"{REFERENCE}_schedule")
    at = datetime(2024, 10, 8, 17, 45, tzinfo=ZoneInfo("Asia/Shanghai"))
    context = dg.build_schedule_context(scheduled_execution_time=at)

    [request] = schedule.evaluate_tick(context).run_requests or ()

    assert schedule.cron_schedule == "45 17 * * *"
    assert request.tags["dagster/asset_partition_range_start"] == "2024-10-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-10-08"


def feed_with(vendor: str, **settings: object) -> Feed:
    return build_feeds({"feeds": {"x": {"vendor": vendor, **settings}}}, _folder())["x"]


def _folder() -> "object":

    return Path()


def test_lists_are_read_after_the_close_and_before_the_bars() -> None:
    assert reference_cron(feed_with("tushare")) == "45 16 * * *"
    assert reference_cron(feed_with("tushare", ready_after_minutes=5)) == "1 15 * * *"


@pytest.mark.parametrize("vendor", ["massive", "eodhd", "yahoo"])
def test_vendor_that_says_nothing_beside_bars_gets_no_assets(vendor: str) -> None:
    settings = {"symbols": ["AAPL.US"]} if vendor == "yahoo" else {}

    assert reference_names(feed_with(vendor, **settings)) == []


def test_wrong_token_is_one_message_and_nothing_is_stored(market: Market) -> None:
    with HttpVendorServer(tushare_answers({}, token="another")) as server:
        use_tushare(market, server)
        result = market.sync("2024-09-27", "2024-09-30", job=REFERENCE)

    assert not result.success
    assert "您的token不对" in failure_text(result)
    assert "check the token in TOKEN_OF_TEST" in failure_text(result)
    assert market.rows("SELECT count(*) FROM market.suspensions") == [(0,)]


def test_holiday_is_materialised_without_a_question(cn: Market, server: BaostockServer) -> None:
    result = cn.sync(HOLIDAY, job=REFERENCE)

    assert stored_keys(result, "suspensions") == [HOLIDAY]
    assert [fields[0] for fields in server.questions] == ["query_stock_basic"]


def test_late_factors_fail_a_check_that_blocks(market: Market) -> None:
    more = {
        "stock_basic": (
            ("ts_code", "name", "market", "list_date", "delist_date"),
            [["600000.SH", "x", "m", "19991110", None]],
        ),
        "suspend_d": (
            ("ts_code", "trade_date", "suspend_timing"),
            [["600001.SH", "20240930", None]],
        ),
        "adj_factor": (("ts_code", "trade_date", "adj_factor"), []),
    }
    with HttpVendorServer(tushare_answers({}, more=more)) as server:
        lines = [
            'vendor = "tushare"',
            f'base_url = "{server.base_url}"',
            'token_env = "TOKEN_OF_TEST"',
        ]
        market.feeds = {"cn": "[market.feeds.cn]\n" + "\n".join(lines) + "\n"}
        market.environment["TOKEN_OF_TEST"] = "token"
        result = market.sync("2024-09-30", job=REFERENCE)

    assert stored_keys(result, "adjustment_factors") == []
    assert stored_keys(result, "suspensions") == ["2024-09-30"]
    [verdict] = [
        e
        for e in evaluations(result)
        if (e.asset_key.path[-1], e.check_name) == ("adjustment_factors", "every_day_is_read")
    ]
    assert not verdict.passed
    assert verdict.description is not None
    assert "1 empty without confirmation (2024-09-30)" in verdict.description
