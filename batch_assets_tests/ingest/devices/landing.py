"""A landing folder of device records, and a process that loads it and dies where it is told to."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from batch_assets.execution import failpoints
from batch_assets.ingest.devices.drain import drain_inbox
from batch_assets.ingest.devices.load import DeviceOptions, load_device_files
from batch_assets.ingest.devices.report import DeviceReport
from batch_assets.loading.streams import StreamOptions
from batch_assets_tests.loading.synthetic import connector

MIDNIGHT = datetime(2025, 1, 31, tzinfo=UTC)
Row = tuple[str, int, int]
"""Device, minutes since midnight, heart rate."""


@dataclass(frozen=True)
class Plan:
    """What is loaded, and where the process dies."""

    url: str
    root: str
    """Empty for the inbox."""
    failpoints: str = ""
    batch_rows: int = 100
    shards: int = 4
    lease_wait_seconds: float = 10.0


def run(plan: Plan) -> DeviceReport:
    """Load everything that waits, in this process."""
    return load_device_files(connector(plan.url), Path(plan.root), _options(plan))


def drain(plan: Plan) -> DeviceReport:
    """Write everything that is in the inbox, in this process."""
    return drain_inbox(connector(plan.url), _options(plan))


def _options(plan: Plan) -> DeviceOptions:
    return DeviceOptions(
        shards=plan.shards,
        batch_rows=plan.batch_rows,
        settle_seconds=0,
        stream=StreamOptions(
            lease_seconds=1.0, lease_wait_seconds=plan.lease_wait_seconds, first_wait_seconds=0.01
        ),
    )


def start(plan: Plan) -> "subprocess.Popen[bytes]":
    """Start a process that loads."""
    return subprocess.Popen([sys.executable, "-m", __spec__.name, json.dumps(asdict(plan))])


def make_rows(count: int, devices: int = 40, seed: int = 1) -> list[Row]:
    """Rows of few devices and moments: most correct one that was sent before."""
    chance = random.Random(seed)
    return [
        (f"SN{chance.randrange(devices):03d}", chance.randrange(30), 40 + number % 300)
        for number in range(count)
    ]


def body_of(device: str, minutes: int, rate: int) -> dict[str, object]:
    """A row as a client posts it."""
    measured_at = (MIDNIGHT + timedelta(minutes=minutes)).isoformat()
    return {"device_sn": device, "main_data": {"measured_at": measured_at, "heart_rate": rate}}


def drop(root: Path, name: str, rows: Sequence[Row]) -> None:
    """Write a file of rows."""
    root.mkdir(exist_ok=True)
    lines = (json.dumps(body_of(*row)) for row in rows)
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def last_of(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """What the table has to hold: of each device and moment, what came last."""
    return sorted({(device, minutes): rate for device, minutes, rate in rows}.items())


def stored(url: str) -> list[tuple[object, ...]]:
    """What the table holds, in the shape of `last_of`."""
    found = ask(url, "SELECT device_sn, measured_at, heart_rate_bpm::int FROM devices.records")
    minutes: Callable[[datetime], int] = lambda at: int((at - MIDNIGHT).total_seconds()) // 60  # noqa: E731
    return sorted(((device, minutes(at)), rate) for device, at, rate in found)  # type: ignore[arg-type]


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    """Rows of a query."""
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


if __name__ == "__main__":
    chosen = Plan(**json.loads(sys.argv[1]))
    failpoints.arm(chosen.failpoints)
    (run if chosen.root else drain)(chosen)
