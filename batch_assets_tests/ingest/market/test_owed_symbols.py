"""Symbols that failed or were chosen: what their days become, and what a later run asks again."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from batch_assets.loading.report import LoadState
from batch_assets.sources.market.plan import Route
from batch_assets_tests.fakes.bars import Bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.ingest.market.vendor_runs import (
    ALL_GOOD,
    ALL_PASSED_OVER,
    SESSIONS,
    Runs,
    asked_symbols,
    states,
)


def test_failed_symbols_make_their_days_partial_and_are_all_kept(
    by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    # Two of them: each is asked twice before it is given up.
    eastmoney.faults.extend(["", "", "500", "500", "", "500", "500"])

    reports = by_symbol.sync()

    assert states(reports) == [LoadState.PARTIAL] * 5
    day = reports["2024-09-30"]
    assert day.load.reason == "failed_symbols"
    assert "2 symbols could not be fetched (600002.SH, 600004.SH)" in day.message
    assert by_symbol.stored() == dict.fromkeys(SESSIONS, 28)
    assert by_symbol.rows(
        "SELECT symbol, error_class, is_retryable, error_message LIKE '%HTTP status 500%',"
        " isempty(owed_days) FROM market.failed_symbols ORDER BY symbol"
    ) == [
        ("600002.SH", "SourceUnavailable", True, True, False),
        ("600004.SH", "SourceUnavailable", True, True, False),
    ]


def test_retrying_fetches_only_the_failed_symbols_on_any_host(
    by_symbol: Runs, eastmoney: HttpVendorServer, calendar_cache: Path, tmp_path: Path
) -> None:
    eastmoney.faults.extend(["", "", "500", "500", "", "500", "500"])
    by_symbol.sync()
    before = len(eastmoney.requests)
    # Another host has none of the answers on its disk.
    other = tmp_path / "other host"
    other.mkdir()
    (other / "calendars").symlink_to(calendar_cache / "calendars")
    by_symbol.cache_dir = other

    again = by_symbol.sync()

    assert asked_symbols(eastmoney)[before:] == ["600002.SH", "600004.SH"]
    assert by_symbol.plans[1].calls == 2
    assert states(again) == ALL_GOOD
    assert by_symbol.stored() == dict.fromkeys(SESSIONS, 30)
    assert by_symbol.rows(
        "SELECT count(*) FROM market.failed_symbols"
        " WHERE NOT isempty(owed_days) OR answered_at IS NULL"
    ) == [(0,)]
    assert states(by_symbol.sync()) == ALL_PASSED_OVER


def test_a_symbol_that_fails_again_stays_owed_alone(
    by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    # No answer is kept on disk: what is asked comes from what the database knows.
    by_symbol.feed = by_symbol.feed.model_copy(update={"reuse_minutes": 0})
    eastmoney.faults.extend(["500", "500"])
    by_symbol.sync()
    eastmoney.faults.extend(["502", "502"])
    before = len(eastmoney.requests)

    again = by_symbol.sync()
    after = by_symbol.sync()

    assert states(again) == [LoadState.FAILED] * 5
    assert "HTTP status 502" in again["2024-09-30"].message
    assert asked_symbols(eastmoney)[before:] == ["600000.SH"] * 3
    assert states(after) == ALL_GOOD


def test_chosen_symbols_that_fail_leave_a_complete_day_complete(
    by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    by_symbol.sync()
    eastmoney.faults.extend(["500", "500"])

    failed = by_symbol.sync(symbols=("600003.SH",))

    assert states(failed) == [LoadState.FAILED] * 5
    assert by_symbol.plan().reasons["already_present"] == 5


def test_dead_letters_of_symbols_that_were_not_fetched_stay_open(
    by_symbol: Runs, eastmoney: HttpVendorServer, market: dict[str, list[Bar]]
) -> None:
    for number in (4, 5):
        bad = market["2024-09-30"][number]
        market["2024-09-30"][number] = replace(bad, volume=Decimal(-1))
    by_symbol.feed = by_symbol.feed.model_copy(update={"reject_limit_ratio": 0.5})
    by_symbol.sync()
    market["2024-09-30"][4] = replace(market["2024-09-30"][4], volume=Decimal(1200))

    by_symbol.sync([date(2024, 9, 30)], symbols=("600004.SH",))

    query = "SELECT source_file FROM ops.dead_letters WHERE state = 'open' ORDER BY 1"
    both = [("600004.SH.parquet",), ("600005.SH.parquet",)]
    assert by_symbol.rows(query) == both
    # The whole day was read: what it no longer met is mended.
    by_symbol.sync([date(2024, 9, 30)], is_forced=True)
    assert by_symbol.rows(query) == both[1:]


def test_owed_days_without_a_bar_of_the_symbol_are_complete(
    by_symbol: Runs, eastmoney: HttpVendorServer, market: dict[str, list[Bar]]
) -> None:
    # 600003.SH was suspended on one of the days.
    market["2024-09-30"] = [bar for bar in market["2024-09-30"] if bar.symbol != "600003.SH"]
    eastmoney.faults.extend(["", "", "", "500", "500"])
    by_symbol.sync()

    again = by_symbol.sync()

    assert states(again) == ALL_GOOD
    assert by_symbol.stored() == {**dict.fromkeys(SESSIONS, 30), date(2024, 9, 30): 29}


def test_an_answer_for_some_days_leaves_the_others_owed(
    by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    eastmoney.faults.extend(["500", "500"])
    by_symbol.sync()

    by_symbol.sync([date(2024, 9, 30)])

    reasons = by_symbol.plan().reasons
    assert (reasons["failed_symbols"], reasons["already_present"]) == (4, 1)


@pytest.mark.parametrize("fixture", ["by_day", "by_symbol"])
def test_chosen_symbols_never_complete_a_day(fixture: str, request: pytest.FixtureRequest) -> None:
    runs: Runs = request.getfixturevalue(fixture)
    chosen = ("600003.SH", "600007.SH")

    reports = runs.sync(symbols=chosen)

    assert states(reports) == [LoadState.PARTIAL] * 5
    assert {reports[day.isoformat()].load.reason for day in SESSIONS} == {"subset"}
    assert "only 600003.SH, 600007.SH were asked for" in reports["2024-09-30"].message
    assert runs.stored() == dict.fromkeys(SESSIONS, 2)
    # The days are still missing, and a whole run makes them complete.
    assert runs.plan().reasons["missing"] == 5
    assert states(runs.sync()) == ALL_GOOD
    assert runs.stored() == dict.fromkeys(SESSIONS, 30)


def test_chosen_symbols_take_the_cheaper_way(by_day: Runs, tushare: HttpVendorServer) -> None:
    by_day.sync(symbols=("600003.SH", "600007.SH"))

    assert by_day.plans[0].route is Route.BY_SYMBOL_RANGE
    assert len(tushare.requests) == 2

    by_day.sync([SESSIONS[0]], symbols=("600003.SH", "600007.SH"))

    assert by_day.plans[1].route is Route.BY_DAY
    assert len(tushare.requests) == 3


def test_chosen_symbols_leave_a_complete_day_complete(by_day: Runs) -> None:
    by_day.sync()

    by_day.sync(symbols=("600003.SH",))

    assert by_day.plan().reasons["already_present"] == 5
