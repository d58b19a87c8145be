"""From a fake vendor's wire to rows in PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.bars import a_share_market, read_shared_wire
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import as_json, eastmoney_answers
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    HOLIDAY,
    NEXT_DAY,
    NOW,
    build_vendor_feed,
    secret,
)

DAYS = (date(2024, 9, 27), DAY, HOLIDAY, NEXT_DAY)
SESSIONS = (DAYS[0], DAY, NEXT_DAY)

Sync = Callable[..., dict[str, DayReport]]


@pytest.fixture
def sync(postgres: str, calendar_cache: Path) -> Sync:
    def run(feed: VendorFeed, days: Sequence[date] = DAYS) -> dict[str, DayReport]:
        source = open_feed(feed, calendar_cache, secret=secret, days=days)
        reports = sync_days(
            partial(connect, postgres, application_name="test"),
            feed,
            source,
            days,
            now=NOW,
            options=options_of(feed, LoadingSettings()),
        )
        return {report.key: report for report in reports}

    return run


@pytest.fixture
def baostock() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        for day in SESSIONS:
            server.add_day(day, a_share_market(day, 200))
        yield server


def feed_of(server: BaostockServer) -> VendorFeed:
    return build_vendor_feed("baostock", host="127.0.0.1", port=server.port)


def states(reports: dict[str, DayReport]) -> dict[str, LoadState]:
    return {key: report.load.state for key, report in sorted(reports.items())}


def stored(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        query = "SELECT trade_date, count(*) FROM market.daily_bars GROUP BY 1 ORDER BY 1"
        return {day.isoformat(): count for day, count in conn.execute(query)}


def test_days_are_loaded_and_a_second_run_changes_nothing(
    sync: Sync, baostock: BaostockServer, postgres: str
) -> None:
    first = sync(feed_of(baostock))
    second = sync(feed_of(baostock))

    assert states(first) == {
        "2024-09-27": LoadState.SUCCESS,
        "2024-09-30": LoadState.SUCCESS,
        "2024-10-01": LoadState.SKIPPED,
        "2024-10-08": LoadState.SUCCESS,
    }
    assert stored(postgres) == {day.isoformat(): 200 for day in SESSIONS}
    assert [first[day.isoformat()].load.ledger.inserted for day in SESSIONS] == [200] * 3
    assert [second[day.isoformat()].load.ledger.unchanged for day in SESSIONS] == [200] * 3
    assert [second[day.isoformat()].load.ledger.inserted for day in SESSIONS] == [0] * 3
    assert baostock.logins == 2
    assert baostock.most_open == 1


def test_a_day_that_fails_leaves_the_others_and_is_repaired_alone(
    sync: Sync, baostock: BaostockServer, postgres: str
) -> None:
    baostock.faults.extend(["", "half_frame", "half_frame"])
    first = sync(feed_of(baostock))
    second = sync(feed_of(baostock), [DAY])

    assert states(first)["2024-09-30"] is LoadState.FAILED
    assert first["2024-09-30"].is_retryable
    assert states(first)["2024-10-08"] is LoadState.SUCCESS
    assert states(second) == {"2024-09-30": LoadState.SUCCESS}
    assert stored(postgres) == {day.isoformat(): 200 for day in SESSIONS}


def test_a_late_correction_updates_its_row_alone(
    sync: Sync, baostock: BaostockServer, postgres: str
) -> None:
    sync(feed_of(baostock))
    baostock.days[DAY.isoformat()][7][5] = baostock.days[DAY.isoformat()][7][2]
    baostock.days[DAY.isoformat()][7][6] = "9.9900"

    ledger = sync(feed_of(baostock), [DAY])[DAY.isoformat()].load.ledger

    assert (ledger.updated, ledger.unchanged) == (1, 199)


def test_a_black_listed_address_fails_every_day_with_one_login(
    sync: Sync, baostock: BaostockServer
) -> None:
    baostock.login_faults.extend(["10001011"] * 9)

    reports = sync(feed_of(baostock))

    failed = [reports[day.isoformat()] for day in SESSIONS]
    assert all(report.load.state is LoadState.FAILED for report in failed)
    assert all("black-listed" in report.message for report in failed)
    assert not any(report.is_retryable for report in failed)
    assert baostock.logins == 1


def test_an_empty_session_is_no_success(sync: Sync, baostock: BaostockServer) -> None:
    baostock.days[DAY.isoformat()] = []

    reports = sync(feed_of(baostock))

    assert reports[DAY.isoformat()].load.state is LoadState.UNCONFIRMED_EMPTY


def test_a_real_reply_is_stored_whole(sync: Sync, shared_market: Path, postgres: str) -> None:
    wire = read_shared_wire(shared_market, DAY)
    with HttpVendorServer(lambda _: as_json(wire)) as server:
        feed = build_vendor_feed("tushare", base_url=server.base_url, prices="qfq")
        report = sync(feed, [DAY])[DAY.isoformat()]

    assert report.load.state is LoadState.SUCCESS
    assert stored(postgres) == {"2024-09-30": 5063}


def test_adjusted_prices_that_are_declared_raw_fail_the_day(
    sync: Sync, shared_market: Path, postgres: str
) -> None:
    wire = read_shared_wire(shared_market, DAY)
    with HttpVendorServer(lambda _: as_json(wire)) as server:
        feed = build_vendor_feed("tushare", base_url=server.base_url)
        report = sync(feed, [DAY])[DAY.isoformat()]

    assert report.load.state is LoadState.FAILED
    assert "vwap_outside_range" in report.message
    assert stored(postgres) == {}


def test_a_range_by_symbol_is_asked_once_and_loaded_by_day(
    sync: Sync, postgres: str, calendar_cache: Path
) -> None:
    market = {day.isoformat(): a_share_market(day, 40) for day in SESSIONS}
    symbols = [bar.symbol for bar in market[DAY.isoformat()]]
    with HttpVendorServer(eastmoney_answers(market)) as server:
        feed = build_vendor_feed(
            "eastmoney", base_url=server.base_url, symbols=symbols, source="eastmoney_test"
        )
        first, second = sync(feed), sync(feed)

    assert states(first) == states(second)
    assert stored(postgres) == {day.isoformat(): 40 for day in SESSIONS}
    assert [second[day.isoformat()].load.ledger.unchanged for day in SESSIONS] == [40] * 3
    assert len(server.requests) == 40
