"""Planned runs against fake vendors: what is asked on the wire, and what the days become."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from batch_assets.ingest.market.plan import plan_repairs
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.sources.market.plan import Route
from batch_assets_tests.fakes.bars import Bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.ingest.market.vendor_runs import (
    ALL_GOOD,
    ALL_PASSED_OVER,
    EVENING,
    LONG_AFTER,
    SESSIONS,
    SYMBOLS,
    Runs,
    asked_days,
    states,
)


def test_a_range_by_day_takes_a_call_a_session_and_none_the_second_time(
    by_day: Runs, tushare: HttpVendorServer
) -> None:
    first = by_day.sync()
    calls = len(tushare.requests)
    second = by_day.sync()

    assert (states(first), states(second)) == (ALL_GOOD, ALL_PASSED_OVER)
    assert (calls, len(tushare.requests)) == (5, 5)
    assert by_day.stored() == dict.fromkeys(SESSIONS, 30)
    passed_over = second["2024-09-30"]
    assert (passed_over.load.reason, passed_over.present_rows) == ("already_present", 30)
    assert "30 rows are there since" in passed_over.message
    assert second["2024-10-01"].load.reason == "not_a_session"


def test_a_range_by_symbol_takes_a_call_a_symbol_and_none_the_second_time(
    by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    first = by_symbol.sync()
    calls = len(eastmoney.requests)
    second = by_symbol.sync()

    assert (states(first), states(second)) == (ALL_GOOD, ALL_PASSED_OVER)
    assert (calls, len(eastmoney.requests)) == (30, 30)
    assert by_symbol.plans[0].calls == 30
    assert by_symbol.stored() == dict.fromkeys(SESSIONS, 30)


def test_force_asks_again_whatever_is_there(
    by_day: Runs, tushare: HttpVendorServer, by_symbol: Runs, eastmoney: HttpVendorServer
) -> None:
    for runs, server, calls in ((by_day, tushare, 5), (by_symbol, eastmoney, 30)):
        runs.feed = runs.feed.model_copy(update={"source": runs.feed.vendor})
        runs.sync()

        again = runs.sync(is_forced=True)

        assert len(server.requests) == 2 * calls
        assert again["2024-09-30"].load.ledger == Ledger(read=30, unchanged=30)


def test_only_days_that_failed_are_asked_again(by_day: Runs, tushare: HttpVendorServer) -> None:
    tushare.faults.extend(["", "503", "503"])
    first = by_day.sync()
    before = len(tushare.requests)

    second = by_day.sync()

    assert first["2024-09-27"].load.state is LoadState.FAILED
    assert by_day.plans[1].reasons["failed"] == 1
    assert asked_days(tushare)[before:] == ["20240927"]
    assert second["2024-09-27"].load.state is LoadState.SUCCESS


def test_a_changed_mapping_makes_stored_days_needed(by_day: Runs) -> None:
    by_day.sync()

    by_day.feed = by_day.feed.model_copy(update={"volume_unit": "share"})

    assert by_day.plan().reasons == {"not_a_session": 9, "changed_source": 5}


def test_a_longer_list_of_symbols_makes_stored_days_needed(by_symbol: Runs) -> None:
    by_symbol.sync()

    by_symbol.feed = by_symbol.feed.model_copy(update={"symbols": (*SYMBOLS, "600999.SH")})

    assert by_symbol.plan().reasons["changed_source"] == 5


def test_rows_that_somebody_removed_are_fetched_again(
    by_day: Runs, tushare: HttpVendorServer
) -> None:
    by_day.sync()
    by_day.rows(
        "DELETE FROM market.daily_bars WHERE trade_date = '2024-09-30' AND symbol < '600005'"
        " RETURNING 1"
    )

    again = by_day.sync()

    assert by_day.plans[1].reasons["changed_table"] == 1
    assert again["2024-09-30"].load.ledger == Ledger(read=30, inserted=5, unchanged=25)
    assert len(tushare.requests) == 6


def test_a_feed_with_few_symbols_has_the_same_rows_either_way(
    by_day: Runs, tushare: HttpVendorServer
) -> None:
    by_day.feed = by_day.feed.model_copy(update={"symbols": tuple(SYMBOLS[:3])})

    by_day.sync(SESSIONS[:2])
    by_day.sync()

    assert [plan.route for plan in by_day.plans] == [Route.BY_DAY, Route.BY_DAY]
    by_day.sync(is_forced=True)
    assert by_day.plans[2].route is Route.BY_SYMBOL_RANGE
    assert by_day.stored() == dict.fromkeys(SESSIONS, 3)
    assert len(tushare.requests) == 2 + 3 + 3


def test_corrections_of_the_last_sessions_are_found_and_kept_as_versions(
    by_day: Runs, tushare: HttpVendorServer, market: dict[str, list[Bar]]
) -> None:
    by_day.feed = by_day.feed.model_copy(update={"reread_sessions": 2})
    by_day.now = LONG_AFTER
    by_day.sync(SESSIONS[:4])
    # As if the days had been read on the evening before.
    by_day.rows("UPDATE ops.loads SET started_at = %s RETURNING 1", EVENING - timedelta(days=1))
    old = market["2024-09-30"][7]
    market["2024-09-30"][7] = replace(old, close=old.close + Decimal("0.25"))
    by_day.now = EVENING
    before = len(tushare.requests)

    reports = by_day.sync()

    assert by_day.plans[1].reasons == {
        "not_a_session": 9, "already_present": 2, "correction_window": 2, "missing": 1,
    }  # fmt: skip
    assert asked_days(tushare)[before:] == ["20240930", "20241008", "20241009"]
    assert reports["2024-09-30"].load.ledger == Ledger(read=30, updated=1, unchanged=29)
    assert by_day.rows(
        "SELECT b.revision, b.close - h.close FROM market.daily_bars AS b"
        " JOIN market.daily_bars_history AS h USING (source, trade_date, symbol)"
    ) == [(2, Decimal("0.250000"))]


def test_a_relaunch_reads_the_last_sessions_only_once_a_day(
    by_day: Runs, tushare: HttpVendorServer
) -> None:
    by_day.now = EVENING
    by_day.sync()
    calls = len(tushare.requests)

    by_day.sync()

    # The loads began now, long after the newest session of that evening was due.
    assert len(tushare.requests) == calls == 5


def test_a_shorter_answer_deletes_nothing(by_day: Runs, market: dict[str, list[Bar]]) -> None:
    by_day.sync()
    market["2024-09-30"] = market["2024-09-30"][:25]

    again = by_day.sync(is_forced=True)

    assert again["2024-09-30"].load.ledger == Ledger(read=25, unchanged=25)
    assert by_day.stored()[date(2024, 9, 30)] == 30


def test_days_to_repair_are_found_and_bounded(
    by_day: Runs, tushare: HttpVendorServer, market: dict[str, list[Bar]]
) -> None:
    by_day.now = EVENING
    market["2024-10-08"] = []
    tushare.faults.extend(["503", "503"])
    by_day.sync()

    def repairs(days: int) -> list[tuple[date, date]]:
        feed = by_day.feed.model_copy(update={"repair_days": days})
        return plan_repairs(by_day.connect, feed, now=by_day.now, cache_dir=by_day.cache_dir)

    first, empty = date(2024, 9, 26), date(2024, 10, 8)
    assert repairs(30) == [(first, first), (empty, empty)]
    assert repairs(7) == [(empty, empty)]
    assert repairs(0) == []


def test_a_plan_is_recorded_with_what_it_took(by_day: Runs, tushare: HttpVendorServer) -> None:
    tushare.faults.append("503")
    by_day.sync()

    [plan] = by_day.rows(
        "SELECT plan_id, run_id, route, windows_asked, windows_needed, planned_calls, planned_rows,"
        " made_calls, read_rows, seconds > 0, finished_at IS NOT NULL FROM ops.plans"
    )
    windows = by_day.rows(
        "SELECT w.why, w.is_needed, l.state, count(*) FROM ops.plan_windows AS w"
        " JOIN ops.loads AS l USING (load_id) WHERE plan_id = %s AND l.state = w.state"
        " GROUP BY 1, 2, 3 ORDER BY 1",
        plan[0],
    )

    assert plan[1:] == ("run", "by_day", 14, 5, 5, None, 6, 150, True, True)
    assert windows == [("missing", True, "success", 5), ("not_a_session", False, "skipped", 9)]


def test_the_next_plan_knows_what_the_last_one_took(by_day: Runs) -> None:
    by_day.sync(SESSIONS[:2])

    plan = by_day.plan()

    assert (plan.calls, plan.rows) == (3, 90)
    assert plan.seconds is not None
    assert plan.seconds_p90 is not None
    assert 0 < plan.seconds <= plan.seconds_p90


def test_calls_are_counted_for_each_day(by_day: Runs, tushare: HttpVendorServer) -> None:
    tushare.faults.append("503")

    reports = by_day.sync()

    assert Counter(report.calls for report in reports.values()) == {2: 1, 1: 4, 0: 9}
