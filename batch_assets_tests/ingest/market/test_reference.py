"""Instruments, suspensions and factors from the wire of fake vendors to their tables."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.market.daily_bars import DayReport
from batch_assets.ingest.market.reference import (
    ReferenceInput,
    sync_vendor_factors,
    sync_vendor_instruments,
    sync_vendor_suspensions,
)
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import tushare_answers
from batch_assets_tests.sources.market.vendors.conftest import build_vendor_feed, secret

NOW = datetime(2024, 10, 20, tzinfo=UTC)
FRIDAY, MONDAY, HOLIDAY = date(2024, 9, 27), date(2024, 9, 30), date(2024, 10, 1)
TUESDAY, WEDNESDAY = date(2024, 10, 8), date(2024, 10, 9)

Make = Callable[..., ReferenceInput]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def connector(postgres: str) -> Connector:
    return partial(connect, postgres, application_name="test")


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as conn:
        yield conn


@pytest.fixture
def make(connector: Connector, cache_dir: Path, tmp_path: Path) -> Make:
    def given(feed: VendorFeed, now: datetime = NOW) -> ReferenceInput:
        access = VendorAccess(secret, tmp_path)
        return ReferenceInput(connector, feed, access, cache_dir, now, LoadOptions())

    return given


class Tushare:
    """Serves factors by day and symbol; None is a symbol without a factor."""

    def __init__(self) -> None:
        self.factors: dict[date, dict[str, str | None]] = {}
        self.more: dict[str, Any] = {}
        self.server = HttpVendorServer(self._answer)

    def _answer(self, request: Any) -> Any:

        asked = json.loads(request.body)
        if asked["api_name"] == "adj_factor":
            day = asked["params"]["trade_date"]
            given = self.factors.get(date.fromisoformat(day), {})
            rows = [[symbol, day, factor] for symbol, factor in given.items()]
            self.more["adj_factor"] = (("ts_code", "trade_date", "adj_factor"), rows)
        return tushare_answers({}, more=self.more)(request)


@pytest.fixture
def tushare() -> Iterator[Tushare]:
    fake = Tushare()
    with fake.server:
        yield fake


def feed_of(fake: Tushare) -> VendorFeed:
    return build_vendor_feed("tushare", base_url=fake.server.base_url, source="cn")


def by_key(reports: Iterator[DayReport]) -> dict[str, DayReport]:
    return {report.key: report for report in reports}


def stored_factors(conn: psycopg.Connection, symbol: str) -> list[tuple[date, Decimal]]:
    query = "SELECT ex_date, factor FROM market.adjustment_factors WHERE symbol = %s ORDER BY 1"
    return [(day, factor) for day, factor in conn.execute(query, (symbol,))]


def in_force(conn: psycopg.Connection, symbol: str, days: Sequence[date]) -> list[Decimal]:
    """What a view multiplies the raw price of each day with."""
    query = (
        "SELECT coalesce((SELECT factor FROM market.adjustment_factors"
        " WHERE symbol = %s AND ex_date <= d ORDER BY ex_date DESC LIMIT 1), 1)"
        " FROM unnest(%s::date[]) AS d ORDER BY d"
    )
    return [factor for [factor] in conn.execute(query, (symbol, list(days)))]


def store_bars(conn: psycopg.Connection, day: date, *symbols: str) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO market.daily_bars (source, symbol, trade_date, close, volume, load_id)"
            " VALUES ('cn', %s, %s, 10, 100, 1)",
            [(symbol, day) for symbol in symbols],
        )


def test_what_tushare_lists_becomes_the_universe(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    header = ("ts_code", "name", "market", "list_date", "delist_date")
    rows = [
        ["600000.SH", "浦发银行", "主板", "19991110", None],
        ["000003.SZ", "PT金田A", "主板", "19910703", "20020614"],
    ]
    tushare.more["stock_basic"] = (header, rows)

    first = sync_vendor_instruments(make(feed_of(tushare)))
    again = sync_vendor_instruments(make(feed_of(tushare)))

    # The same list answers for listed, delisted and paused ones here: copies, not conflicts.
    assert first.load.ledger == Ledger(read=6, inserted=2, duplicate=4)
    assert again.load.ledger == Ledger(read=6, unchanged=2, duplicate=4)
    query = "SELECT symbol, listed_on, delisted_on FROM market.instruments ORDER BY 1"
    assert conn.execute(query).fetchall() == [
        ("000003.SZ", date(1991, 7, 3), date(2002, 6, 14)),
        ("600000.SH", date(1999, 11, 10), None),
    ]


def test_suspensions_of_a_range_skip_what_is_no_session(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    header = ("ts_code", "trade_date", "suspend_timing")
    tushare.more["suspend_d"] = (header, [["600000.SH", "20240930", None]])
    given = make(feed_of(tushare), datetime(2024, 10, 8, 4, tzinfo=UTC))

    reports = by_key(sync_vendor_suspensions(given, [MONDAY, HOLIDAY, TUESDAY]))

    assert {key: report.load.state for key, report in reports.items()} == {
        "2024-09-30": LoadState.SUCCESS,
        "2024-10-01": LoadState.SKIPPED,
        "2024-10-08": LoadState.NOT_READY,
    }
    assert "is not a session of XSHG" in reports["2024-10-01"].message
    assert "run the partition again after that" in reports["2024-10-08"].message
    assert len(tushare.server.requests) == 1
    query = "SELECT symbol, trade_date FROM market.suspensions"
    assert conn.execute(query).fetchall() == [("600000.SH", MONDAY)]
    assert conn.execute(
        "SELECT window_key, state FROM ops.loads WHERE target = 'market.suspensions' ORDER BY 1"
    ).fetchall() == [
        ("2024-09-30", "success"),
        ("2024-10-01", "skipped"),
        ("2024-10-08", "not_ready"),
    ]


def test_only_changes_of_a_cumulative_factor_are_stored(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    for day, a, b in ((FRIDAY, "1.0", "2.5"), (MONDAY, "1.0", "2.5"), (TUESDAY, "1.05", "2.5")):
        tushare.factors[day] = {"600000.SH": a, "000001.SZ": b}
    days = [FRIDAY, MONDAY, HOLIDAY, TUESDAY]

    first = by_key(sync_vendor_factors(make(feed_of(tushare)), days))
    again = by_key(sync_vendor_factors(make(feed_of(tushare)), days))

    assert stored_factors(conn, "600000.SH") == [(TUESDAY, Decimal("1.05"))]
    assert stored_factors(conn, "000001.SZ") == [(FRIDAY, Decimal("2.5"))]
    assert first["2024-10-08"].load.ledger == Ledger(read=2, unchanged=1, skipped=1)
    assert all(
        again[day.isoformat()].load.ledger == Ledger(read=2, unchanged=2)
        for day in (FRIDAY, MONDAY, TUESDAY)
    )
    assert conn.execute("SELECT max(revision) FROM market.adjustment_factors").fetchone() == (1,)


HISTORIES = {
    "600000.SH": ("1", "1", "2", "2"),
    "600001.SH": ("3", "3", "3", "3"),
    "600002.SH": ("1", "2", "3", "4"),
    "600003.SH": ("2", "3", "2", "2"),
}


@pytest.mark.parametrize("order", ["0123", "3210", "1302", "3021", "0312"])
def test_days_read_in_any_order_read_what_the_vendor_said(
    tushare: Tushare, make: Make, conn: psycopg.Connection, order: str
) -> None:
    days = [FRIDAY, MONDAY, TUESDAY, WEDNESDAY]
    for place, day in enumerate(days):
        tushare.factors[day] = {symbol: given[place] for symbol, given in HISTORIES.items()}

    list(sync_vendor_factors(make(feed_of(tushare)), [days[int(place)] for place in order]))

    assert {symbol: in_force(conn, symbol, days) for symbol in HISTORIES} == {
        symbol: [Decimal(factor) for factor in given] for symbol, given in HISTORIES.items()
    }


def test_a_correction_of_one_day_leaves_the_days_that_were_read_after_it(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    days = [FRIDAY, MONDAY, TUESDAY]
    for day in days:
        tushare.factors[day] = {"600000.SH": "1.0"}
    list(sync_vendor_factors(make(feed_of(tushare)), days))

    tushare.factors[MONDAY] = {"600000.SH": "1.2"}
    list(sync_vendor_factors(make(feed_of(tushare)), [MONDAY]))

    assert in_force(conn, "600000.SH", days) == [1, Decimal("1.2"), 1]


def test_late_factors_are_no_success_and_change_nothing(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    tushare.factors[MONDAY] = {"600000.SH": "1.5"}

    late = by_key(sync_vendor_factors(make(feed_of(tushare)), [MONDAY, TUESDAY]))["2024-10-08"]

    assert late.load.state is LoadState.UNCONFIRMED_EMPTY
    assert (late.is_warning, late.is_retryable) == (True, True)
    assert "as late as the next morning" in late.message
    assert stored_factors(conn, "600000.SH") == [(MONDAY, Decimal("1.5"))]


@pytest.mark.parametrize(("missing", "state"), [(3, LoadState.SUCCESS), (21, LoadState.PARTIAL)])
def test_symbols_that_trade_without_a_factor_are_named_and_not_guessed(
    tushare: Tushare, make: Make, conn: psycopg.Connection, missing: int, state: LoadState
) -> None:
    symbols = [f"{600000 + number}.SH" for number in range(60)]
    store_bars(conn, MONDAY, *symbols)
    tushare.factors[MONDAY] = dict.fromkeys(symbols[missing:], "2")
    tushare.factors[MONDAY][symbols[0]] = None

    report = by_key(sync_vendor_factors(make(feed_of(tushare)), [MONDAY]))["2024-09-30"]

    assert report.load.state is state
    assert report.load.reason == "missing_factors"
    assert f"{missing} symbols that trade on 2024-09-30 have no factor (600000.SH" in report.message
    assert stored_factors(conn, "600000.SH") == []
    assert stored_factors(conn, symbols[-1]) == [(MONDAY, Decimal(2))]


def test_factors_of_another_day_are_refused(
    tushare: Tushare, make: Make, conn: psycopg.Connection
) -> None:
    rows = [["600000.SH", "20240927", "2"]]
    tushare.more["adj_factor"] = (("ts_code", "trade_date", "adj_factor"), rows)
    server = HttpVendorServer(tushare_answers({}, more=tushare.more))
    with server:
        feed = build_vendor_feed("tushare", base_url=server.base_url, source="cn")
        [report] = sync_vendor_factors(make(feed), [MONDAY])

    assert report.load.state is LoadState.FAILED
    assert "factors of 2024-09-27, expected those of 2024-09-30 alone" in report.message
    assert stored_factors(conn, "600000.SH") == []


def test_a_vendor_that_refuses_fails_every_day_with_one_question(
    tushare: Tushare, make: Make
) -> None:
    reports = by_key(sync_vendor_suspensions(make(feed_of(tushare)), [FRIDAY, MONDAY, TUESDAY]))

    assert {report.load.state for report in reports.values()} == {LoadState.FAILED}
    assert "没有接口访问权限" in reports["2024-09-27"].message
    assert "check the token in TUSHARE_TOKEN and the points" in reports["2024-09-27"].message
    assert reports["2024-10-08"].message.startswith("not asked, because an earlier request")
    assert len(tushare.server.requests) == 1


def test_a_vendor_that_cannot_answer_says_so(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="does not answer 'factors'"):
        list(sync_vendor_factors(make(build_vendor_feed("massive")), [MONDAY]))


@pytest.fixture
def baostock() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        server.listed = [
            ["sh.600000", "浦发银行", "1999-11-10", "", "1", "1"],
            ["sz.000003", "PT金田A", "1991-07-03", "2002-06-14", "1", "0"],
            ["sh.000001", "上证综合指数", "1991-07-15", "", "2", "1"],
        ]
        server.statuses = {
            MONDAY.isoformat(): [["sh.600000", "1", "浦发银行"], ["sh.600001", "0", "邯郸钢铁"]]
        }
        server.factors = {
            "sh.600000": [
                ["sh.600000", "2015-06-23", "0.5", "6.295967", "6.295967"],
                ["sh.600000", "2024-09-30", "1.000000", "12.591934", "12.591934"],
            ],
            "sh.600001": [["sh.600001", "2016-06-23", "1", "3", "3"]],
        }
        yield server


def baostock_feed(server: BaostockServer) -> VendorFeed:
    return build_vendor_feed(
        "baostock",
        host="127.0.0.1",
        port=server.port,
        read_timeout_seconds=10.0,
        reply_timeout_seconds=20.0,
    )


def test_what_baostock_lists_is_stocks_alone(
    baostock: BaostockServer, make: Make, conn: psycopg.Connection
) -> None:
    report = sync_vendor_instruments(make(baostock_feed(baostock)))

    assert report.load.ledger == Ledger(read=2, inserted=2)
    query = "SELECT symbol, name, listed_on, delisted_on FROM market.instruments ORDER BY 1"
    assert conn.execute(query).fetchall() == [
        ("000003.SZ", "PT金田A", date(1991, 7, 3), date(2002, 6, 14)),
        ("600000.SH", "浦发银行", date(1999, 11, 10), None),
    ]


def test_a_symbol_that_does_not_trade_at_baostock_is_suspended(
    baostock: BaostockServer, make: Make, conn: psycopg.Connection
) -> None:
    reports = by_key(sync_vendor_suspensions(make(baostock_feed(baostock)), [MONDAY, HOLIDAY]))

    assert reports["2024-09-30"].load.ledger == Ledger(read=1, inserted=1)
    assert conn.execute("SELECT symbol FROM market.suspensions").fetchall() == [("600001.SH",)]
    assert baostock.most_open == 1
    assert baostock.logins == 1


def test_a_change_at_baostock_brings_all_earlier_ones_of_its_symbol(
    baostock: BaostockServer, make: Make, conn: psycopg.Connection
) -> None:
    feed = baostock_feed(baostock)

    first = by_key(sync_vendor_factors(make(feed), [FRIDAY, MONDAY]))
    again = by_key(sync_vendor_factors(make(feed), [MONDAY]))

    assert stored_factors(conn, "600000.SH") == [
        (date(2015, 6, 23), Decimal("6.295967")),
        (MONDAY, Decimal("12.591934")),
    ]
    assert stored_factors(conn, "600001.SH") == []
    assert {report.load.state for report in first.values()} == {LoadState.SUCCESS}
    assert again["2024-09-30"].load.state is LoadState.SUCCESS
    assert conn.execute("SELECT max(revision) FROM market.adjustment_factors").fetchone() == (1,)
