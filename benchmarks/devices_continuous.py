"""The continuous mode under load and faults: how long until an accepted record is visible.

Clients, each with devices of its own, post what is offered second by second. Two workers write it;
one of them is killed and replaced, and the database is restarted, while records go on coming. Of
each request one record is looked for in `devices.records` until it is there: its seconds begin when
the request was answered, and end when a reader sees it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from batch_assets.errors import BatchAssetsError
from batch_assets.ingest.devices.inbox import append_to_inbox
from benchmarks.device_records import Fleet, Truth
from benchmarks.measure import server_cpu_seconds
from benchmarks.server import BenchmarkServer

# One record a second from each device: 5,000 a second.
DEVICES = 5_000
_CLIENTS = 4
_REQUESTS_PER_SECOND = 10

# Between two looks for records: the error of each latency.
_LOOK_SECONDS = 0.01
_WARM_UP_SECONDS = 2.0
_DRAINED_WITHIN_SECONDS = 120.0
_CONFIGURATION = """
[devices]
shards = 4
lease_seconds = 2.0
inbox_rows_max = 1000000
"""
_ARE_VISIBLE = """
    SELECT p.number FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[])
        AS p (number, device_sn, measured_at)
    JOIN devices.records AS r USING (device_sn, measured_at)
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """One accepted record that is looked for."""

    device_sn: str
    measured_at: str
    accepted_at: float


@dataclass(slots=True)
class Probes:
    """Records that are looked for, and the seconds each took to be visible."""

    waiting: dict[int, Probe] = field(default_factory=dict)
    found: list[tuple[float, float]] = field(default_factory=list)
    _added: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, body: dict[str, object]) -> None:
        """Look for a record from now on."""
        data = body["main_data"]
        assert isinstance(data, dict)
        probe = Probe(str(body["device_sn"]), str(data["timestamp"]), time.monotonic())
        with self._lock:
            self._added += 1
            self.waiting[self._added] = probe

    def look(self, conn: psycopg.Connection) -> None:
        """Look once for all of them."""
        with self._lock:
            asked = dict(self.waiting)
        rows = conn.execute(
            _ARE_VISIBLE,
            (
                list(asked),
                [probe.device_sn for probe in asked.values()],
                [probe.measured_at for probe in asked.values()],
            ),
        ).fetchall()
        seen_at = time.monotonic()
        with self._lock:
            for (number,) in rows:
                probe = self.waiting.pop(number)
                self.found.append((probe.accepted_at, seen_at - probe.accepted_at))

    def seconds(self, first: float, last: float) -> list[float]:
        """Of those accepted within a time, in ascending order."""
        return sorted(took for at, took in self.found if first <= at < last)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was seen.

    Attributes:
        calm: Seconds of the probes before the first fault, ascending.
        all: The same of all probes.
        accepted_per_second: Over the whole time in which records were offered.
        worker_cpu_us: Processor time of the workers for each record, before the first fault.
        server_cpu_us: The same of the database, what clients and probes ask it included; 0 where
            it is not ours.
        sent_again: Requests without an answer.
        truth: The tables against what was sent.
    """

    calm: list[float]
    all: list[float]
    accepted_per_second: float
    worker_cpu_us: float
    server_cpu_us: float
    sent_again: int
    truth: Truth


def run_continuous(
    server: BenchmarkServer, folder: Path, seconds: int, restart: Callable[[], None] | None
) -> Outcome:
    """Offer records for some seconds, with faults at the half and at three quarters.

    Args:
        server: Its device tables are empty.
        folder: For the configuration of the workers.
        restart: Restarts the database; None if it is not ours.
    """
    fleet, probes, over = Fleet(DEVICES, seconds), Probes(), threading.Event()
    with ThreadPoolExecutor(_CLIENTS + 1) as pool, _workers(server, folder) as workers:
        looking = pool.submit(_look_until, server, probes, over)
        try:
            begun = time.monotonic() + _WARM_UP_SECONDS
            ends = [
                pool.submit(_post, server, fleet, client, begun, probes)
                for client in range(_CLIENTS)
            ]
            _wait(begun + _WARM_UP_SECONDS)
            before = _spent(server, workers)
            _wait(begun + seconds / 2)
            # A busy machine may have written nothing yet, and nothing can be divided by it.
            _await_more(server, workers, before[0])
            first_fault = time.monotonic()
            spent = [now - then for now, then in zip(_spent(server, workers), before, strict=True)]
            workers.replace_one()
            _wait(begun + seconds * 3 / 4)
            if restart is not None:
                restart()
            sent_again = sum(end.result() for end in ends)
            offered_seconds = time.monotonic() - begun
            _await_all(server, probes)
        finally:
            over.set()
        looking.result()
    with closing(server.administer()) as admin:
        truth = fleet.compare(admin)
    warm = begun + _WARM_UP_SECONDS
    return Outcome(
        probes.seconds(warm, first_fault),
        probes.seconds(warm, float("inf")),
        fleet.records / offered_seconds,
        spent[1] / spent[0] * 1e6,
        spent[2] / spent[0] * 1e6,
        sent_again,
        truth,
    )


def _spent(server: BenchmarkServer, workers: "_Workers") -> tuple[float, float, float]:
    """Records written so far, and seconds of processor time of the workers and of the server."""
    with closing(server.administer()) as admin:
        row = admin.execute("SELECT coalesce(sum(rows_read), 0) FROM ops.loads").fetchone()
        assert row is not None
        times = [psutil.Process(one.pid).cpu_times() for one in workers.processes]
        worker_seconds = sum(each.user + each.system for each in times)
        return float(row[0]), worker_seconds, server_cpu_seconds(server.postmaster(admin))


def _await_more(server: BenchmarkServer, workers: "_Workers", records: float) -> None:
    deadline = time.monotonic() + _DRAINED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if _spent(server, workers)[0] > records:
            return
        threading.Event().wait(0.1)
    raise RuntimeError(f"no record was written within {_DRAINED_WITHIN_SECONDS:.0f} s")


def _wait(until: float) -> None:
    threading.Event().wait(max(0.0, until - time.monotonic()))


def _post(server: BenchmarkServer, fleet: Fleet, client: int, begun: float, probes: Probes) -> int:
    """Post the records of one client's devices when they are due; returns requests sent again."""
    per_request = fleet.devices // _CLIENTS // _REQUESTS_PER_SECOND
    conn, again = server.connect(), 0
    for second in range(fleet.rounds):
        bodies = list(fleet.bodies(second, second + 1))[client::_CLIENTS]
        for number in range(0, len(bodies), per_request):
            request = bodies[number : number + per_request]
            _wait(begun + second + number / len(bodies))
            while True:
                try:
                    append_to_inbox(conn, request, capacity_rows=1_000_000)
                    break
                except (psycopg.Error, BatchAssetsError):
                    # No answer: whether it was accepted is not known, so it is sent again.
                    again += 1
                    conn.close()
                    conn = _connect_again(server)
            probes.add(request[0])
    conn.close()
    return again


def _connect_again(server: BenchmarkServer) -> psycopg.Connection:
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.connect()
        except (psycopg.Error, BatchAssetsError):
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.05)


def _look_until(server: BenchmarkServer, probes: Probes, over: threading.Event) -> None:
    conn = server.administer()
    while not over.wait(_LOOK_SECONDS):
        try:
            probes.look(conn)
        except (psycopg.Error, BatchAssetsError):
            conn.close()
            conn = _connect_again(server)
            conn.autocommit = True
    conn.close()


def _await_all(server: BenchmarkServer, probes: Probes) -> None:
    """Wait until nothing is in the inbox and every probe was seen."""
    deadline = time.monotonic() + _DRAINED_WITHIN_SECONDS
    with closing(server.administer()) as admin:
        while time.monotonic() < deadline:
            row = admin.execute("SELECT count(*) FROM devices.inbox").fetchone()
            if row == (0,) and not probes.waiting:
                return
            threading.Event().wait(0.1)
    raise RuntimeError(f"{len(probes.waiting)} probes and the inbox {row} were not written in time")


@dataclass(slots=True)
class _Workers:
    """Processes of `batch-assets devices run`."""

    environment: dict[str, str]
    folder: Path
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start(self) -> None:
        """One more."""
        program = "from batch_assets.ops.cli.main import main; main()"
        with (self.folder / "workers.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", program, "devices", "run"],
                    env=self.environment,
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                )
            )

    def replace_one(self) -> None:
        """Kill the first one as a crash would, and start another, as a supervisor would."""
        killed = self.processes.pop(0)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        self.start()

    def stop(self) -> None:
        """Let all of them finish their batches and end."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _workers(server: BenchmarkServer, folder: Path) -> Iterator[_Workers]:
    (folder / "batch_assets.toml").write_text(_CONFIGURATION, encoding="utf-8")
    environment = {
        **os.environ,
        "BATCH_ASSETS_DATABASE_URL": server.url,
        "BATCH_ASSETS_CONFIG": str(folder / "batch_assets.toml"),
        "BATCH_ASSETS_HOME": str(folder / "home"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    workers = _Workers(environment, folder)
    try:
        workers.start()
        workers.start()
        _await_leases(server)
        yield workers
    finally:
        workers.stop()


def _await_leases(server: BenchmarkServer) -> None:
    deadline = time.monotonic() + 60
    with closing(server.administer()) as admin:
        while time.monotonic() < deadline:
            row = admin.execute(
                "SELECT count(*) FILTER (WHERE starts_with(resource, 'devices.workers/')), "
                "count(*) FILTER (WHERE starts_with(resource, 'devices.records/')) "
                "FROM ops.leases"
            ).fetchone()
            if row is not None and row[0] >= 2 and row[1] >= 4:
                return
            threading.Event().wait(0.1)
    raise RuntimeError("the workers did not take their shards within 60 s")
