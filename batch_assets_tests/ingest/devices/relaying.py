"""Messages of devices, a Redis to tell them to, and a process that tells them and is killed."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import redis

from batch_assets.execution import failpoints
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import write_rows
from batch_assets.ingest.devices.redis_sink import RedisSink
from batch_assets.ingest.devices.relay import RelayOptions, RelayReport, relay_outbox
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.loading.device_outbox import Refusals
from batch_assets.sources.devices.alert_rules import AlertRule, AlertSettings
from batch_assets.sources.devices.bodies import read_bodies
from batch_assets_tests.ingest.devices.landing import MIDNIGHT
from batch_assets_tests.loading.synthetic import connector
from batch_assets_tests.polling import wait_until

HIGH = AlertRule(name="fast", metric="heart_rate_bpm", max=120)
ALERTING = DeviceEffects(AlertSettings(rules=(HIGH,)), ("redis",))
OPTIONS = RelayOptions(lease_seconds=1.0, refusals=Refusals(3, 0.5, 0.5))


@dataclass(frozen=True)
class Relayed:
    """What a process sends, and where it dies."""

    url: str
    redis_url: str
    failpoints: str = ""


def relay(plan: Relayed) -> RelayReport:
    """Send what is due to Redis, in this process."""
    sink = RedisSink(plan.redis_url, "REDIS_URL")
    try:
        return relay_outbox(connector(plan.url), {"redis": sink}, OPTIONS)
    finally:
        sink.close()


def start_relay(plan: Relayed) -> "subprocess.Popen[bytes]":
    """Start a process that sends."""
    return subprocess.Popen([sys.executable, "-m", __spec__.name, json.dumps(asdict(plan))])


def store(
    url: str,
    bodies: Sequence[tuple[str, int, int, object]],
    effects: DeviceEffects = ALERTING,
) -> None:
    """Write records, each with device, minute, heart rate and `redis_data`, in one part."""
    lines = [
        (
            number,
            json.dumps(
                {
                    "device_sn": device,
                    "main_data": {
                        "measured_at": (MIDNIGHT + timedelta(minutes=minute)).isoformat(),
                        "heart_rate": rate,
                    },
                    "redis_data": told,
                }
            ),
        )
        for number, (device, minute, rate, told) in enumerate(bodies, 1)
    ]
    with psycopg.connect(url) as conn:
        write_rows(
            conn, 1, read_bodies(lines, len(lines), "test", "UTC").rows, BatchClock(), effects
        )


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis of its own, by the URL of its socket; skips where none is installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    path = folder / "redis.sock"
    server = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(path.exists, "the socket of redis-server")
        yield f"unix://{path}"
    finally:
        server.terminate()
        server.wait(10)


class Listener:
    """Hears every channel from now on."""

    def __init__(self, client: "redis.Redis") -> None:
        self._channels = client.pubsub()
        self._channels.psubscribe("health_*")
        assert self._channels.get_message(timeout=10) is not None

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._channels.close()

    def heard(self) -> list[tuple[str, dict[str, object]]]:
        """Channel and message, of what was published since the last call."""
        found = []
        while (message := self._channels.get_message(timeout=0.05)) is not None:
            found.append((message["channel"].decode(), json.loads(message["data"])))
        return found


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="ba-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    chosen = Relayed(**json.loads(sys.argv[1]))
    failpoints.arm(chosen.failpoints)
    relay(chosen)
