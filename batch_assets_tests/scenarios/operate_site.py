"""A project of two feeds, its real processes, and the hand that holds its workers.

Each worker stops right before each of its commits, and goes on when the story lets it.
"""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from batch_assets.ops.cli.main import run
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]
QUICK_BACKFILLS = Path(__file__).parent / "quick_backfills"
FAMILY = "BATCH_ASSETS_TEST_FAMILY"

# The one that cannot be read is the first, so that what is left is one range, and one run.
DAYS = [f"2024-09-{day:02}" for day in range(2, 14)]
CUT_OFF, MISSPELT = DAYS[0], DAYS[1]
# More rows than days are published together with, and three days fill the queue.
SYMBOLS = 6_000
HEADER = "date,symbol,open,high,low,close,volume,amount\n"
FEED = """
[market.feeds.{name}]
folder = "{name}"
layout = "by_day"
files = "{{date}}.csv"
calendar = "24/7"
symbol = {{ style = "cn" }}
"""
# Days are committed one after the other, and few are parsed before their turn comes.
SMALL = """
[loading]
publish_connections = 1
queue_bytes = 1048576
[api]
look_every_seconds = 0.1
"""
# The command line loads one feed, the API the other.
BY_COMMAND, BY_API = "left", "right"


def day_file(day: str) -> str:
    close = f"10.{day[-2:]}"
    rows = [
        f"{day},{600000 + one}.SH,10.00,11.00,9.00,{close},{1000 + one},{10 * (1000 + one)}"
        for one in range(SYMBOLS)
    ]
    return HEADER + "\n".join(rows) + "\n"


class Story:
    """A project of two feeds, its processes, and the hand that holds its workers."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.family = folder, url, uuid.uuid4().hex
        self._is_open, self._is_over = threading.Event(), threading.Event()
        self._hand = threading.Thread(target=self._let_go)

    def prepare(self) -> None:
        assert run(["init", str(self.folder), "--no-examples"]) == 0
        feeds = "".join(FEED.format(name=name) for name in (BY_COMMAND, BY_API))
        (self.folder / "batch_assets.toml").write_text(feeds + SMALL)
        for name in (BY_COMMAND, BY_API):
            (self.folder / name).mkdir()
            for day in DAYS:
                (self.folder / name / f"{day}.csv").write_text(day_file(day))
            broken = day_file(MISSPELT).replace(",1000,", ",1OOO,")
            (self.folder / name / f"{MISSPELT}.csv").write_text(broken)
            (self.folder / name / f"{CUT_OFF}.csv").write_bytes(b"\xff\x00 not a table")

    def mend(self) -> None:
        for name in (BY_COMMAND, BY_API):
            (self.folder / name / f"{CUT_OFF}.csv").write_text(day_file(CUT_OFF))

    def environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{PROJECT}{os.pathsep}{QUICK_BACKFILLS}",
            "BATCH_ASSETS_CONFIG": str(self.folder / "batch_assets.toml"),
            "BATCH_ASSETS_HOME": str(self.folder / "state"),
            "BATCH_ASSETS_DATABASE_URL": self.url,
            "BATCH_ASSETS_FAILPOINTS": "publish.before_commit=stop",
            "LANG": "en_US.UTF-8",
            FAMILY: self.family,
        }

    @contextmanager
    def command(self, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        """A command in a process of its own, interrupted at the end if it has not ended."""
        process = subprocess.Popen(
            [sys.executable, "-m", "batch_assets.ops.cli.main", *arguments],
            env={**os.environ, **self.environment()},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=40)
            process.kill()
            process.communicate()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(statement.encode(), values).fetchall()

    def relatives(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                is_dead = process.status() == psutil.STATUS_ZOMBIE
                if not is_dead and process.environ().get(FAMILY) == self.family:
                    found.append(process)
        return found

    def held_workers(self) -> dict[str, int]:
        """Workers that are about to commit, by feed."""
        rows = self.query(
            "SELECT t.value, w.pid FROM ops.run_workers AS w JOIN dagster.runs AS r USING (run_id)"
            " JOIN dagster.run_tags AS t USING (run_id)"
            " WHERE w.stage = 'working' AND r.status = 'STARTED' AND t.key = 'batch_assets/feed'"
        )
        held = {}
        for feed, pid in rows:
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                    held[feed] = pid
        return held

    def wait_for_both(self, what: str) -> dict[str, int]:
        wait_until(lambda: len(self.held_workers()) == 2, what, 300)
        return self.held_workers()

    @contextmanager
    def hand(self) -> Iterator[None]:
        """The hand that lets workers go while it is open."""
        self._hand.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._hand.join()

    def let_go(self) -> None:
        self._is_open.set()

    def hold(self) -> None:
        self._is_open.clear()

    def _let_go(self) -> None:
        while not self._is_over.wait(0.02):
            if self._is_open.is_set():
                for pid in self.held_workers().values():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)

    def states(self) -> dict[int, str]:
        return dict(self.query("SELECT backfill_id, state FROM ops.backfills"))

    def wait_for_states(self, state: str, *numbers: int, seconds: float = 300) -> None:
        wanted = dict.fromkeys(numbers, state)
        wait_until(lambda: wanted.items() <= self.states().items(), f"both are {state}", seconds)
