"""Workers of the continuous mode for tests: in this process, or in one that can be killed."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from batch_assets.ingest.devices.continuous import ContinuousReport, run_continuously
from batch_assets.ingest.devices.crew import Member
from batch_assets.ingest.devices.inbox import append_to_inbox
from batch_assets.ingest.devices.shard_loop import ContinuousOptions
from batch_assets.ops.cli.interrupts import stop_on_signals
from batch_assets.sources.devices.settings import DeviceSettings
from batch_assets_tests.ingest.devices.landing import Row, body_of
from batch_assets_tests.loading.synthetic import connector


@dataclass(frozen=True)
class Work:
    """What a worker runs with."""

    url: str
    root: str = ""
    """Empty for the inbox alone."""
    name: str = "worker"
    shards: int = 4
    batch_seconds: float = 0.2
    lease_seconds: float = 1.5
    load_seconds: float = 900.0
    settle_seconds: float = 0.0

    @property
    def options(self) -> ContinuousOptions:
        """As the command would make them of [devices]."""
        settings = DeviceSettings(
            shards=self.shards,
            batch_seconds=self.batch_seconds,
            lease_seconds=self.lease_seconds,
            settle_seconds=self.settle_seconds,
            scan_seconds=0.1,
        )
        root = Path(self.root) if self.root else None
        return ContinuousOptions(settings, root, load_seconds=self.load_seconds, tick_seconds=0.1)


def work(plan: Work, stop: threading.Event) -> ContinuousReport:
    """Run one worker in this thread."""
    member = Member(plan.lease_seconds, f"{plan.name}:0")
    return run_continuously(connector(plan.url), plan.options, stop, member)


@contextmanager
def working(*plans: Work) -> Iterator[list[ContinuousReport]]:
    """Workers in threads; what they report is there when the body has ended."""
    reports: list[ContinuousReport] = []
    stop = threading.Event()
    with ThreadPoolExecutor(len(plans)) as pool:
        ends = [pool.submit(work, plan, stop) for plan in plans]
        try:
            yield reports
        finally:
            stop.set()
        reports.extend(end.result(timeout=60) for end in ends)


def start(plan: Work) -> "subprocess.Popen[bytes]":
    """Start a worker in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", __spec__.name, json.dumps(asdict(plan))])


def post(url: str, rows: list[Row], size: int = 50) -> None:
    """Post rows in order, some at a time."""
    with psycopg.connect(url) as conn:
        for first in range(0, len(rows), size):
            append_to_inbox(conn, [body_of(*row) for row in rows[first : first + size]])


if __name__ == "__main__":
    work(Work(**json.loads(sys.argv[1])), stop_on_signals())
