"""A run that is killed anywhere is continued without asking for what was committed or answered."""

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.market.daily_bars import options_of
from batch_assets.ingest.market.plan import PlanRequest, plan_sync
from batch_assets.ingest.market.run import MarketAccess, sync_plan
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.calendar import open_calendar
from batch_assets_tests.fakes.bars import make_bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers, tushare_answers
from batch_assets_tests.polling import wait_until
from batch_assets_tests.sources.market.vendors.conftest import NOW, build_vendor_feed, secret

PROJECT = Path(__file__).resolve().parents[3]
# The sessions of September 2024 in Shanghai.
RANGE = [date(2024, 9, 1) + timedelta(days=number) for number in range(30)]
SYMBOLS = [f"{600000 + number}.SH" for number in range(40)]

# A lease of a killed run ends soon, so that the next one does not wait for it.
LOADING = LoadingSettings(lease_seconds=1, publish_connections=1)

WORKER = """
import json, sys
from batch_assets.execution import failpoints
from batch_assets_tests.ingest.market.test_crash_run import sync
url, cache, vendor, settings, armed = json.loads(sys.argv[1])
failpoints.arm(armed)
sync(url, cache, vendor, settings)
"""


def sync(url: str, cache: str, vendor: str, settings: dict[str, object]) -> dict[str, LoadState]:
    """One whole run over September."""
    feed = build_vendor_feed(vendor, **settings)
    open_connection = partial(connect, url, application_name="test")
    plan = plan_sync(open_connection, feed, PlanRequest(RANGE), now=NOW, cache_dir=Path(cache))
    reports = sync_plan(
        open_connection,
        feed,
        plan,
        MarketAccess(Path(cache), secret),
        now=NOW,
        options=replace(options_of(feed, LOADING), group_rows=100),
    )
    return {report.key: report.load.state for report in reports}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    # Computed before the run is timed by its requests.
    open_calendar("XSHG", tmp_path, today=NOW.date())
    return tmp_path


def sessions(cache: Path) -> list[date]:
    calendar = open_calendar("XSHG", cache, today=NOW.date())
    return [day for day in RANGE if calendar.is_session(day)]


def start(
    url: str, cache: Path, vendor: str, settings: dict[str, object], armed: str = ""
) -> "subprocess.Popen[bytes]":
    arguments = json.dumps([url, str(cache), vendor, settings, armed])
    return subprocess.Popen([sys.executable, "-c", WORKER, arguments], cwd=PROJECT)


def committed(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        rows = conn.execute("SELECT DISTINCT trade_date FROM market.daily_bars").fetchall()
    return {day.isoformat() for (day,) in rows}


@pytest.mark.crash
def test_a_killed_run_by_day_asks_for_no_committed_day_again(postgres: str, cache: Path) -> None:
    days = sessions(cache)
    market = {
        day.isoformat(): [make_bar(s, day, f"{10 + day.day}.00") for s in SYMBOLS] for day in days
    }
    with HttpVendorServer(tushare_answers(market)) as server:
        server.latency_seconds = 0.2
        settings: dict[str, object] = {"base_url": server.base_url}
        killed = start(postgres, cache, "tushare", settings)
        wait_until(lambda: len(committed(postgres)) >= len(days) // 2, "half is committed", 60)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        kept = committed(postgres)
        asked_before = len(server.requests)
        server.latency_seconds = 0

        states = sync(postgres, str(cache), "tushare", settings)

        asked = [json.loads(r.body)["params"]["trade_date"] for r in server.requests]
    again = {f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in asked[asked_before:]}
    assert len(days) // 2 <= len(kept) < len(days)
    assert again == {day.isoformat() for day in days} - kept
    assert max(Counter(asked).values()) <= 2
    assert {states[day] for day in kept} == {LoadState.SKIPPED}
    assert committed(postgres) == {day.isoformat() for day in days}


@pytest.mark.crash
def test_a_run_by_symbol_killed_while_it_loads_asks_nothing_again(
    postgres: str, cache: Path
) -> None:
    days = sessions(cache)
    market = {
        day.isoformat(): [make_bar(s, day, f"{10 + day.day}.00") for s in SYMBOLS] for day in days
    }
    with HttpVendorServer(eastmoney_answers(market)) as server:
        settings: dict[str, object] = {"base_url": server.base_url, "symbols": SYMBOLS}
        killed = start(postgres, cache, "eastmoney", settings, "publish.after_commit=kill@1")
        killed.wait(timeout=60)
        kept = committed(postgres)

        sync(postgres, str(cache), "eastmoney", settings)

        assert killed.returncode == -signal.SIGKILL
        # The run comes back for a shorter range, which the answers on disk hold.
        assert 0 < len(kept) < len(days)
        assert len(server.requests) == len(SYMBOLS)
    assert committed(postgres) == {day.isoformat() for day in days}


@pytest.mark.crash
def test_a_run_by_symbol_killed_while_it_asks_continues_with_the_rest(
    postgres: str, cache: Path
) -> None:
    days = sessions(cache)
    market = {
        day.isoformat(): [make_bar(s, day, f"{10 + day.day}.00") for s in SYMBOLS] for day in days
    }
    with HttpVendorServer(eastmoney_answers(market)) as server:
        server.latency_seconds = 0.05
        settings: dict[str, object] = {"base_url": server.base_url, "symbols": SYMBOLS}
        killed = start(postgres, cache, "eastmoney", settings)
        wait_until(lambda: len(server.requests) >= 24, "60 % of the symbols are asked", 60)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        server.latency_seconds = 0
        assert committed(postgres) == set()

        states = sync(postgres, str(cache), "eastmoney", settings)

        # One question was under way, and one more may have been answered unread.
        assert len(server.requests) <= len(SYMBOLS) + 2
    assert {states[day.isoformat()] for day in days} == {LoadState.SUCCESS}
