"""Plans, chosen symbols and repairs as Dagster sees them; the vendors are fakes on loopback."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.market.assets import PLAN_TAG
from batch_assets.defs.market.checks import EVERY_DAY_IS_LOADED
from batch_assets_tests.defs.market_files import (
    Market,
    day_text,
    materializations,
    observations,
    verdict_of,
)
from batch_assets_tests.fakes.bars import a_share_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers

DAYS = [date(2024, 9, 27), date(2024, 9, 30), date(2024, 10, 8), date(2024, 10, 9)]
MARKET = {day.isoformat(): a_share_market(day, 30) for day in DAYS}
SYMBOLS = [bar.symbol for bar in MARKET["2024-09-30"]]
RANGE = ("2024-09-27", "2024-10-09")


@pytest.fixture
def eastmoney(market: Market) -> Iterator[HttpVendorServer]:
    with HttpVendorServer(eastmoney_answers(MARKET)) as server:
        market.feeds = {
            "planned": "[market.feeds.planned]\nvendor = 'eastmoney'\nattempts = 1\n"
            # Other tests of this session fill the same folder of answers.
            f"reuse_minutes = 0\nbase_url = '{server.base_url}'\nsymbols = {SYMBOLS}\n"
        }
        yield server


def run_tag(market: Market, result: dg.ExecuteInProcessResult) -> str:
    run = market.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.tags[PLAN_TAG]


def chosen(*symbols: str) -> dict[str, object]:
    return {"ops": {"market__planned__daily_bars": {"config": {"symbols": list(symbols)}}}}


def number(materialization: dg.AssetMaterialization, name: str) -> object:
    return materialization.metadata[name].value


def test_plan_is_shown_and_a_second_run_asks_nothing(
    market: Market, eastmoney: HttpVendorServer
) -> None:
    first = market.sync(*RANGE)
    calls = len(eastmoney.requests)
    second = market.sync(*RANGE)

    assert (calls, len(eastmoney.requests)) == (30, 30)
    assert run_tag(market, first).startswith(
        "4 of 13 days (9 not_a_session, 4 missing); 30 calls by_symbol_range"
    )
    assert run_tag(market, second).startswith("0 of 13 days (9 not_a_session, 4 already_present)")
    [loaded] = [materializations(first)["2024-09-30"]]
    assert (number(loaded, "symbols"), number(loaded, "vendor_calls")) == (30, 0)
    assert number(materializations(first)["2024-09-27"], "vendor_calls") == 30
    passed_over = materializations(second)["2024-09-30"]
    assert number(passed_over, "dagster/row_count") == 30
    assert "nothing was asked" in str(number(passed_over, "summary"))
    assert second.success


def test_chosen_symbols_materialise_no_day(market: Market, eastmoney: HttpVendorServer) -> None:
    result = market.sync("2024-09-30", run_config=chosen("600001.SH", "600003.SH"))

    assert result.success
    assert materializations(result) == {}
    seen = observations(result)["2024-09-30"].metadata
    assert (seen["state"].value, seen["reason"].value) == ("partial", "subset")
    assert market.stored_days("planned") == {"2024-09-30": 2}
    assert len(eastmoney.requests) == 2


def test_chosen_symbols_of_files_are_read_from_the_whole_day(market: Market) -> None:
    market.write("cn", "2024-09-30", day_text("2024-09-30", 5))
    config = {"ops": {"market__cn__daily_bars": {"config": {"symbols": ["600003.SH"]}}}}

    part = market.sync("2024-09-30", run_config=config)
    whole = market.sync("2024-09-30")

    seen = observations(part)["2024-09-30"].metadata
    assert (seen["rows_read"].value, seen["rows_inserted"].value) == (5, 1)
    assert seen["rows_skipped"].value == 4
    stored = materializations(whole)["2024-09-30"].metadata
    assert (stored["state"].value, stored["rows_inserted"].value) == ("success", 4)


def test_symbol_that_is_none_fails_the_run_with_the_next_step(
    market: Market, eastmoney: HttpVendorServer
) -> None:
    result = market.sync("2024-09-30", run_config=chosen("six hundred"))

    assert not result.success
    assert not eastmoney.requests


def test_repair_schedule_asks_for_the_days_that_are_not_whole(
    market: Market, eastmoney: HttpVendorServer
) -> None:
    eastmoney.faults.extend(["", "500"])
    first = market.sync(*RANGE)
    eastmoney.faults.clear()
    before = len(eastmoney.requests)

    verdict = verdict_of(first, EVERY_DAY_IS_LOADED)
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "4 partial" in str(verdict.description)
    [request] = repair_at(market, "2024-10-09T19:01:00+08:00")
    result = market.sync(
        request.tags["dagster/asset_partition_range_start"],
        request.tags["dagster/asset_partition_range_end"],
    )

    assert (
        request.tags["dagster/asset_partition_range_start"],
        request.tags["dagster/asset_partition_range_end"],
    ) == RANGE
    assert result.success
    assert len(eastmoney.requests) - before == 1
    assert market.stored_days("planned") == {day.isoformat(): 30 for day in DAYS}
    assert repair_at(market, "2024-10-09T19:01:00+08:00") == []


def repair_at(market: Market, due: str) -> list[dg.RunRequest]:
    definitions = market.definitions()
    schedule = definitions.resolve_schedule_def("market_repair_planned_schedule")
    with dg.build_schedule_context(
        instance=market.instance,
        resources={"postgres": PostgresCopyResource(url=market.url, pool_min=1)},
        scheduled_execution_time=datetime.fromisoformat(due).astimezone(UTC),
        repository_def=definitions.get_repository_def(),
    ) as context:
        data = schedule.evaluate_tick(context)
    return list(data.run_requests or [])


def test_schedule_of_a_vendor_reads_the_last_sessions_again(
    tmp_path: Path, state_dir: Path
) -> None:
    market = Market(tmp_path, "postgresql://nowhere.invalid/none", state_dir)
    market.feeds = {"planned": "[market.feeds.planned]\nvendor = 'baostock'\nreread_sessions = 3\n"}
    definitions = market.definitions()
    schedule = definitions.resolve_schedule_def("market_sync_planned_schedule")
    due = datetime.fromisoformat("2024-10-09T18:01:00+08:00").astimezone(UTC)
    with dg.build_schedule_context(
        scheduled_execution_time=due, repository_def=definitions.get_repository_def()
    ) as context:
        [request] = schedule.evaluate_tick(context).run_requests or []

    # Three sessions before the newest, over the holidays of the National Day.
    assert request.tags["dagster/asset_partition_range_start"] == "2024-09-27"
    assert request.tags["dagster/asset_partition_range_end"] == "2024-10-09"
    assert request.run_key == "2024-10-09"
