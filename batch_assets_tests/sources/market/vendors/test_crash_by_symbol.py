"""A run by symbol that is killed costs what was under way, and nothing that was answered."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from batch_assets.sources.market.files import open_feed
from batch_assets_tests.fakes.bars import make_bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers
from batch_assets_tests.polling import wait_until
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    NEXT_DAY,
    NOW,
    build_vendor_feed,
    rows_of,
)

SYMBOLS = [f"{600000 + number}.SH" for number in range(60)]
CONNECTIONS = 3
PROJECT = Path(__file__).resolve().parents[4]
WORKER = """
import json, sys
from datetime import date
from pathlib import Path
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.sources.market.vendors.conftest import NOW, build_vendor_feed
settings, cache, days = json.loads(sys.argv[1])
days = [date.fromisoformat(day) for day in days]
feed = build_vendor_feed("eastmoney", **settings)
open_feed(feed, Path(cache), days=days).open_day(days[0], now=NOW)
"""


@pytest.mark.crash
def test_a_killed_run_asks_for_nothing_that_was_answered(
    tmp_path: Path, calendar_cache: Path
) -> None:
    days = [DAY, NEXT_DAY]
    market = {day.isoformat(): [make_bar(symbol, day) for symbol in SYMBOLS] for day in days}
    with HttpVendorServer(eastmoney_answers(market)) as server:
        server.latency_seconds = 0.05
        settings = {
            "base_url": server.base_url,
            "symbols": SYMBOLS,
            "max_connections": CONNECTIONS,
        }
        killed = subprocess.Popen(
            [sys.executable, "-c", WORKER, arguments(settings, calendar_cache, days)], cwd=PROJECT
        )
        wait_until(lambda: len(server.requests) >= 30, "half of the symbols are asked", 60)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        server.latency_seconds = 0
        source = open_feed(build_vendor_feed("eastmoney", **settings), calendar_cache, days=days)

        rows = rows_of(source.open_day(DAY, now=NOW))

    asked = Counter(request.query["secid"] for request in server.requests)
    assert len(rows) == len(asked) == len(SYMBOLS)
    # One question of each connection was under way, and one more may have been answered unread.
    assert sum(asked.values()) <= len(SYMBOLS) + 2 * CONNECTIONS


def arguments(settings: dict[str, object], cache: Path, days: list[date]) -> str:
    return json.dumps([settings, str(cache), [day.isoformat() for day in days]])
