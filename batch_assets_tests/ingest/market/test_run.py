"""Planned runs against fake vendors: what is asked on the wire, and what the days become."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batch_assets.ingest.market.daily_bars import DayReport, options_of
from batch_assets.ingest.market.plan import PlanRequest, plan_repairs, plan_sync
from batch_assets.ingest.market.run import MarketAccess, sync_plan
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.plan import Plan, Route
from batch_assets_tests.fakes.bars import Bar, make_bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers, tushare_answers
from batch_assets_tests.sources.market.vendors.conftest import build_vendor_feed, secret

# The sessions of Shanghai around the National Day of 2024.
SESSIONS = [
    date(2024, 9, 26),
    date(2024, 9, 27),
    date(2024, 9, 30),
    date(2024, 10, 8),
    date(2024, 10, 9),
]
RANGE = [date(2024, 9, 26) + timedelta(days=number) for number in range(14)]
SYMBOLS = [f"{600000 + number}.SH" for number in range(30)]
LONG_AFTER = datetime(2025, 3, 3, tzinfo=UTC)
# 19:00 in Shanghai, when the rows of 9 October are due.
EVENING = datetime(2024, 10, 9, 11, tzinfo=UTC)


def bars_of(day: date) -> list[Bar]:
    return [make_bar(symbol, day, f"{10 + day.day}.{at:02d}") for at, symbol in enumerate(SYMBOLS)]


@dataclass
class Runs:
    """A feed, its database and everything a run of it needs."""

    url: str
    cache_dir: Path
    feed: VendorFeed
    now: datetime = LONG_AFTER
    plans: list[Plan] = field(default_factory=list)

    def plan(self, days: Sequence[date] = RANGE, **request: Any) -> Plan:
        return plan_sync(
            self.connect,
            self.feed,
            PlanRequest(days, **request),
            now=self.now,
            cache_dir=self.cache_dir,
        )

    def sync(self, days: Sequence[date] = RANGE, **request: Any) -> dict[str, DayReport]:
        plan = self.plan(days, **request)
        self.plans.append(plan)
        reports = sync_plan(
            self.connect,
            self.feed,
            plan,
            MarketAccess(self.cache_dir, secret),
            now=self.now,
            options=options_of(
                self.feed, LoadingSettings(), run_id="run", force=request.get("is_forced", False)
            ),
        )
        return {report.key: report for report in reports}

    @property
    def connect(self) -> "partial[psycopg.Connection]":
        return partial(connect, self.url, application_name="test")

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(query, parameters or None).fetchall()  # type: ignore[arg-type]

    def stored(self) -> dict[date, int]:
        query = "SELECT trade_date, count(*) FROM market.daily_bars GROUP BY 1 ORDER BY 1"
        return dict(self.rows(query))


@pytest.fixture
def market() -> dict[str, list[Bar]]:
    return {day.isoformat(): bars_of(day) for day in SESSIONS}


@pytest.fixture
def tushare(market: dict[str, list[Bar]]) -> Iterator[HttpVendorServer]:
    with HttpVendorServer(tushare_answers(market)) as server:
        yield server


@pytest.fixture
def eastmoney(market: dict[str, list[Bar]]) -> Iterator[HttpVendorServer]:
    with HttpVendorServer(eastmoney_answers(market)) as server:
        yield server


@pytest.fixture(scope="module")
def calendar_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calendars")


@pytest.fixture
def cache_dir(calendar_cache: Path, tmp_path: Path) -> Path:
    (calendar_cache / "calendars").mkdir(parents=True, exist_ok=True)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "calendars").symlink_to(calendar_cache / "calendars")
    return cache


@pytest.fixture
def by_day(postgres: str, cache_dir: Path, tushare: HttpVendorServer) -> Runs:
    feed = build_vendor_feed("tushare", base_url=tushare.base_url)
    return Runs(postgres, cache_dir, feed)


@pytest.fixture
def by_symbol(postgres: str, cache_dir: Path, eastmoney: HttpVendorServer) -> Runs:
    feed = build_vendor_feed("eastmoney", base_url=eastmoney.base_url, symbols=SYMBOLS)
    return Runs(postgres, cache_dir, feed)


def asked_days(server: HttpVendorServer) -> list[str]:
    return [json.loads(request.body)["params"]["trade_date"] for request in server.requests]


def asked_symbols(server: HttpVendorServer) -> list[str]:
    return [f"{request.query['secid'].partition('.')[2]}.SH" for request in server.requests]


def states(reports: dict[str, DayReport], days: Sequence[date] = SESSIONS) -> list[LoadState]:
    return [reports[day.isoformat()].load.state for day in days]


ALL_GOOD = [LoadState.SUCCESS] * 5
ALL_PASSED_OVER = [LoadState.SKIPPED] * 5


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
