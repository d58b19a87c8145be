"""What an operator waits for: a status and a launch over HTTP, and what `status --watch` costs.

`batch-assets serve` runs as a process of its own on a database with one backfill whose partitions
are being loaded, beside earlier ones that have ended. Requests come one after the other over one
connection. Partitions are rows that nobody works at: what is measured is the asking.
"""

import math
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import httpx
import psutil
import psycopg

from batch_assets.ops.access import create_token
from batch_assets.ops.scope import Scope
from benchmarks.command import Command, OpenServer, Setting, describe_run
from benchmarks.figures import Figures

_RUN_PARTITIONS = 30
_FIRST_DAY = date(2000, 1, 1)
_LAUNCHED_DAYS = 60
_READY_SECONDS = 60.0
# Before that, `status --watch` is still starting.
_WATCH_STARTS_SECONDS = 10.0
_SYNC = "/api/v1/sync-status/sync/batch"
_CONFIGURATION = """
[dagster]
first_day = "1980-01-01"

[market]
default_feed = "cn"

[market.feeds.cn]
folder = "days"
layout = "by_day"
files = "{date}.csv"
calendar = "XSHG"
symbol = { style = "cn" }

[api]
requests_per_second = 100000
request_burst = 100000

[alerts]
is_on = false
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is there, and how often it is asked for.

    Attributes:
        running: Partitions being loaded.
        ended: Partitions of the same backfill that have ended.
        earlier: Backfills of as many partitions that have ended before.
        requests: Of each kind that are counted.
        watch_seconds: How long `status --watch` is looked at.
    """

    running: int
    ended: int
    earlier: int
    requests: int
    watch_seconds: float


SCALES = {
    "small": Scale(running=1_000, ended=200, earlier=3, requests=200, watch_seconds=20),
    "full": Scale(running=1_000, ended=1_000, earlier=20, requests=1_000, watch_seconds=60),
}


def run_api(setting: Setting[Scale]) -> dict[str, object]:
    """Milliseconds of each kind of request, and the share of a core."""
    scale, found = setting.scale, Figures()
    (setting.folder / "batch_assets.toml").write_text(_CONFIGURATION, encoding="utf-8")
    (setting.folder / "days").mkdir()
    with setting.open_server() as opened:
        found.update(describe_run(("psycopg", "fastapi", "uvicorn"), opened.admin))
        found.update(partitions_running=scale.running, partitions_ended=scale.ended)
        task_id, number = _plant(opened.admin, scale)
        token = create_token(opened.admin, "benchmark", Scope.LAUNCH)
        environment = _environment(setting, opened)
        with _serving(environment, setting.folder) as url, _client(url, token) as client:
            asked = {
                "status": lambda: client.get(f"{_SYNC}/progress/{task_id}").raise_for_status(),
                "backfill": lambda: client.get(f"/api/v1/backfills/{number}").raise_for_status(),
                "history": lambda: client.get("/api/v1/backfills").raise_for_status(),
            }
            for name, ask in asked.items():
                _add(found, name, _time(ask, scale.requests))
            launches = _time_launches(client, opened.admin, scale.requests // 4)
            _add(found, "launch", launches)
        found["watch_core_share"] = _measure_watch(environment, setting, number)
    return found


def _environment(setting: Setting[Scale], opened: OpenServer) -> dict[str, str]:
    return {
        **os.environ,
        "BATCH_ASSETS_DATABASE_URL": opened.server.url,
        "BATCH_ASSETS_HOME": str(setting.folder / "home"),
        "NO_COLOR": "1",
    }


def _add(found: Figures, name: str, seconds: Sequence[float]) -> None:
    for percent in (50, 99):
        found[f"{name}_p{percent}_ms"] = 1000 * percentile(seconds, percent)
    found[f"{name}_requests"] = len(seconds)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all are not above; never one in between."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def _time(ask: Callable[[], object], times: int) -> list[float]:
    """Seconds of each; the first ten are not counted: connections open, statements are planned."""
    seconds = []
    for number in range(times + 10):
        started = time.perf_counter()
        ask()
        if number >= 10:
            seconds.append(time.perf_counter() - started)
    return seconds


def _time_launches(client: httpx.Client, admin: psycopg.Connection, times: int) -> list[float]:
    """Each loads sixty days that nobody else loads: the one before is closed first."""
    last = _FIRST_DAY - timedelta(days=1)
    body = {
        "start_date": (last - timedelta(days=_LAUNCHED_DAYS - 1)).isoformat(),
        "end_date": last.isoformat(),
    }

    def close() -> None:
        admin.execute(
            "UPDATE ops.backfills SET state = 'canceled', ended_at = clock_timestamp()"
            " WHERE ended_at IS NULL AND state = 'requested'"
        )

    seconds = []
    for number in range(times + 10):
        started = time.perf_counter()
        answer = client.post(_SYNC, json=body)
        took = time.perf_counter() - started
        if answer.status_code != httpx.codes.ACCEPTED or not answer.json()["data"]["is_new"]:
            raise RuntimeError(f"{answer.status_code} {answer.text}, expected 202 and a new task")
        close()
        if number >= 10:
            seconds.append(took)
    return seconds


def _measure_watch(environment: dict[str, str], setting: Setting[Scale], number: int) -> float:
    """Processor time of `status --watch` on a terminal in a second, once it has started."""
    command = [sys.executable, "-m", "batch_assets.ops.cli.main", "status", str(number), "--watch"]
    shown, terminal = pty.openpty()
    text = bytearray()
    reader = threading.Thread(target=_read_terminal, args=(shown, text))
    reader.start()
    watching = psutil.Popen(
        command, env=environment, cwd=setting.folder, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        time.sleep(_WATCH_STARTS_SECONDS)
        before, began = _cpu_seconds(watching), time.perf_counter()
        time.sleep(setting.scale.watch_seconds)
        used, lasted = _cpu_seconds(watching) - before, time.perf_counter() - began
        if watching.poll() is not None or b"%" not in text:
            raise RuntimeError(f"{text!r}, expected the progress of backfill {number} all the time")
    finally:
        watching.terminate()
        watching.wait()
        reader.join()
        os.close(shown)
    return float(used / lasted)


def _read_terminal(shown: int, text: bytearray) -> None:
    """Take what a terminal would show, until nobody writes any more."""
    with suppress(OSError):  # Linux says so when the last writer is gone
        while some := os.read(shown, 65_536):
            text += some


def _cpu_seconds(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _plant(admin: psycopg.Connection, scale: Scale) -> tuple[str, int]:
    """Earlier backfills, and one that runs; returns its task id and its number."""
    partitions = scale.running + scale.ended
    for number in range(scale.earlier):
        _plant_backfill(admin, partitions, running=0, age_hours=24.0 * (scale.earlier - number))
    found = _plant_backfill(admin, partitions, running=scale.running, age_hours=2.0)
    # As autovacuum does within a minute.
    admin.execute("ANALYZE")
    return found


def _plant_backfill(
    admin: psycopg.Connection, partitions: int, *, running: int, age_hours: float
) -> tuple[str, int]:
    last = _FIRST_DAY + timedelta(days=partitions - 1)
    values = {
        "first": _FIRST_DAY,
        "last": last,
        "partitions": partitions,
        "ended": partitions - running,
        "state": "running" if running else "success",
        "age": timedelta(hours=age_hours),
        "of_run": _RUN_PARTITIONS,
    }
    row = admin.execute(
        "INSERT INTO ops.backfills"
        " (asset_key, feed, target, scope, first_key, last_key, partitions,"
        " fingerprint, priority, requested_by, requested_at, started_at, state, ended_at)"
        " VALUES ('market/cn/daily_bars', 'cn', 'market.daily_bars', 'cn', %(first)s::text,"
        " %(last)s::text, %(partitions)s, gen_random_uuid()::text, -10, 'benchmark',"
        " now() - %(age)s, now() - %(age)s, %(state)s,"
        " CASE WHEN %(state)s = 'success' THEN now() - %(age)s + interval '90 minutes' END)"
        " RETURNING backfill_id, floor(extract(epoch FROM requested_at))::bigint",
        values,
    ).fetchone()
    assert row is not None
    values["number"] = row[0]
    for statement in _PLANT:
        admin.execute(statement, values)
    return f"{_FIRST_DAY}_{last}_{row[1]}", int(row[0])


_DAYS = (
    "FROM generate_series(0, %(partitions)s - 1) AS i,"
    " LATERAL (SELECT (%(first)s::date + i)::text AS day,"
    " %(number)s || '-' || i / %(of_run)s AS run) AS of_day"
)
_PLANT = (
    f"INSERT INTO ops.backfill_partitions (backfill_id, position, partition_key)"
    f" SELECT %(number)s, i + 1, day {_DAYS}",
    f"INSERT INTO ops.backfill_runs (run_id, backfill_id)"
    f" SELECT DISTINCT run, %(number)s::bigint {_DAYS}",
    f"INSERT INTO ops.loads (target, scope, window_key, resource, state, rows_read, rows_inserted,"
    f" run_id, started_at, finished_at)"
    f" SELECT 'market.daily_bars', 'cn', day, 'market.daily_bars/cn/' || day,"
    f" CASE WHEN i < %(ended)s THEN 'success' ELSE 'running' END,"
    f" CASE WHEN i < %(ended)s THEN 5000 ELSE 0 END,"
    f" CASE WHEN i < %(ended)s THEN 5000 ELSE 0 END, run,"
    f" now() - %(age)s + i * interval '1 second',"
    f" CASE WHEN i < %(ended)s THEN now() - %(age)s + (i + 1) * interval '1 second' END {_DAYS}",
)


@contextmanager
def _serving(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """`batch-assets serve`, answering."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "batch_assets.ops.cli.main", "serve", "--port", str(port)
    ]  # fmt: skip
    serving = subprocess.Popen(command, env=environment, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, serving)
        yield url
    finally:
        serving.terminate()
        serving.wait()


def _wait_until_ready(url: str, serving: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while time.monotonic() < give_up_at and serving.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)  # it does not listen yet
    raise RuntimeError(f"`batch-assets serve` did not answer within {_READY_SECONDS:g} s")


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60)


COMMAND = Command("api", "status and launch over HTTP, and what watching costs", SCALES, run_api)
