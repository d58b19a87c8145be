"""One host with one worker against two hosts with two workers each, and a host that is cut off.

Workers are `dagster job execute`; all share one PostgreSQL, which is Dagster's instance too. Each
turn begins with an empty database and ends with a comparison of every row with the files. The
cores are those of one machine: what hosts add is seen in processor time, not in the clock.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import psutil
import psycopg

from batch_assets.settings import shipped_path
from benchmarks.command import Command, Setting, describe_run
from benchmarks.figures import Figures
from benchmarks.host_accounts import require_every_row_once, require_one_writer_a_day
from benchmarks.market_year import DayFiles, write_year
from benchmarks.measure import Sample, server_cpu_seconds
from benchmarks.network import (
    Host,
    HostCommand,
    Network,
    NotPermitted,
    opened_network,
    wait_for,
)
from benchmarks.server import empty_tables

_ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("host-a", "host-b")
_REPETITIONS = 3
_WORKER_SECONDS = 300.0

# Waiting for the lease of a host that is gone is what it costs; a real one is ten times as long.
LEASE_SECONDS = 3.0

_CONFIG = """
[dagster]
first_day = 2023-01-01

[loading]
lease_seconds = {lease_seconds}

[market.feeds.benchmark]
folder = "{folder}"
layout = "by_day"
files = "{{date}}.csv"
calendar = "{calendar}"
symbol = {{ style = "cn" }}
max_partitions_per_run = 1000
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Listings and sessions of the market."""

    symbols: int
    sessions: int


SCALES = {"small": Scale(100, 12), "full": Scale(5_000, 60)}


@dataclass(frozen=True, slots=True)
class Site:
    """The hosts, the files that all of them mount, and the server's first process."""

    network: Network
    files: DayFiles
    postmaster: psutil.Process

    def start(self, host: Host, days: Sequence[date], failpoints: str = "") -> HostCommand:
        """Start a worker that loads a range of days."""
        tags = {
            "dagster/asset_partition_range_start": days[0].isoformat(),
            "dagster/asset_partition_range_end": days[-1].isoformat(),
        }
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "DAGSTER_HOME": str(host.folder),
            "BATCH_ASSETS_DATABASE_URL": self.network.url,
            "BATCH_ASSETS_FAILPOINTS": failpoints,
        }
        job = ("-m", "batch_assets.definitions", "-j", "market_sync", "--tags", json.dumps(tags))
        command = (sys.executable, "-m", "dagster", "job", "execute", *job)
        return host.start(command, environment)


@dataclass(frozen=True, slots=True)
class Turn:
    """What loading everything once took: wall clock, and processor time of workers and server."""

    seconds: float
    workers_cpu_seconds: float
    server_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class CutOff:
    """A host that was cut off at a commit.

    Attributes:
        takeover_seconds: From the cut until its days were published by the other host.
        late_seconds: From the cable's return until its worker had ended.
        late_status: Exit status of that worker.
        late_words: All that it said.
    """

    takeover_seconds: float
    late_seconds: float
    late_status: int
    late_words: str


def run_hosts(setting: Setting[Scale]) -> dict[str, object]:
    """Seconds, processor time and their ratios; then the story of the cut."""
    try:
        return _measure(setting)
    except NotPermitted as reason:
        return {"not_measured": str(reason)}


def _measure(setting: Setting[Scale]) -> dict[str, object]:
    scale, folder = setting.scale, setting.folder
    files = write_year(
        folder / "days", folder / "cache", symbols=scale.symbols, sessions=scale.sessions
    )
    with opened_network(folder, HOSTS) as network, administer(network) as admin:
        found = Figures(describe_run(("psycopg", "dagster"), admin))
        site = open_site(network, files, folder / "cache", admin)
        # Dagster makes its tables in the first run of all; a day without a session costs the start.
        start(site, admin, 1)
        starts, ones, fours = [], [], []
        for _ in range(min(setting.repetitions, _REPETITIONS)):
            starts.append(start(site, admin, 1).workers_cpu_seconds)
            ones.append(load(site, admin, 1))
            fours.append(load(site, admin, 4))
        cut = cut_off(site, admin)
    found.update(rows=files.row_count, sessions=len(files.days), lease_seconds=LEASE_SECONDS)
    _add_turns(found, files.row_count, Sample.of(starts), ones, fours)
    found["cut_off_takeover_seconds"] = cut.takeover_seconds
    found["cut_off_late_seconds"] = cut.late_seconds
    found["cut_off_late_status"] = cut.late_status
    return found


def _add_turns(
    found: Figures, rows: int, start: Sample, ones: Sequence[Turn], fours: Sequence[Turn]
) -> None:
    found.add("start_cpu_seconds", start)
    for name, count, turns in (("one_worker", 1, ones), ("four_workers", 4, fours)):
        found.add(f"{name}_seconds", [turn.seconds for turn in turns])
        found.add(f"{name}_rows_per_second", [rows / turn.seconds for turn in turns])
        cpu = [turn.workers_cpu_seconds for turn in turns]
        found.add(f"{name}_workers_cpu_seconds", cpu)
        found.add(
            f"{name}_workers_cpu_seconds_without_starts",
            [seconds - count * start.median for seconds in cpu],
        )
        found.add(f"{name}_server_cpu_seconds", [turn.server_cpu_seconds for turn in turns])
    found.add_ratio(
        "four_workers_speed_ratio", [t.seconds for t in ones], [t.seconds for t in fours]
    )
    found.add(
        "four_workers_cpu_ratio",
        [_cpu(four) / _cpu(one) for one, four in zip(ones, fours, strict=True)],
    )
    found.add(
        "four_workers_cpu_ratio_without_starts",
        [
            (_cpu(four) - 4 * start.median) / (_cpu(one) - start.median)
            for one, four in zip(ones, fours, strict=True)
        ],
    )


def _cpu(turn: Turn) -> float:
    return turn.workers_cpu_seconds + turn.server_cpu_seconds


def administer(network: Network) -> "closing[psycopg.Connection]":
    """A connection in autocommit that no cable reaches."""
    return closing(psycopg.connect(network.local_url, autocommit=True))


def open_site(
    network: Network, files: DayFiles, cache_dir: Path, admin: psycopg.Connection
) -> Site:
    """Give each host a project of its own that reads the same files."""
    text = _CONFIG.format(lease_seconds=LEASE_SECONDS, folder=files.folder, calendar=files.calendar)
    for host in network.hosts:
        (host.folder / "batch_assets.toml").write_text(text, encoding="utf-8")
        (host.folder / "dagster.yaml").write_bytes(shipped_path("dagster.yaml").read_bytes())
        shutil.copytree(cache_dir, host.folder / ".batch_assets" / "cache")
    postmaster = psutil.Process(admin.info.backend_pid).parent()
    if postmaster is None:
        raise RuntimeError(f"backend {admin.info.backend_pid} has no parent, expected the server")
    return Site(network, files, postmaster)


def start(site: Site, admin: psycopg.Connection, workers: int) -> Turn:
    """Start workers for a day that has no rows: New Year."""
    return _timed(site, admin, [[date(2023, 1, 1)]] * workers)


def load(site: Site, admin: psycopg.Connection, workers: int) -> Turn:
    """Load all files into an empty database: an equal part of the days for each worker.

    Raises:
        RuntimeError: A row was lost or doubled, or a day had two writers.
    """
    days = site.files.days
    cuts = [len(days) * number // workers for number in range(workers + 1)]
    turn = _timed(site, admin, [days[a:b] for a, b in pairwise(cuts)])
    require_every_row_once(admin, site.files)
    require_one_writer_a_day(admin)
    return turn


def _timed(site: Site, admin: psycopg.Connection, parts: Sequence[Sequence[date]]) -> Turn:
    """Workers take turns among the hosts; with one, the first host alone works."""
    empty_tables(admin)
    admin.execute("CHECKPOINT")
    server_cpu, began = server_cpu_seconds(site.postmaster), time.perf_counter()
    hosts = site.network.hosts
    workers = [site.start(hosts[number % len(hosts)], days) for number, days in enumerate(parts)]
    ended = [wait_for_end(worker) for worker in workers]
    seconds = time.perf_counter() - began
    server_cpu = server_cpu_seconds(site.postmaster) - server_cpu
    for worker, status in zip(workers, ended, strict=True):
        if status:
            raise RuntimeError(f"a worker ended with {status}: {worker.said[-3000:]}")
    cpu = sum(worker.ended.cpu_seconds for worker in workers if worker.ended)
    return Turn(seconds, cpu, server_cpu)


def wait_for_end(worker: HostCommand, seconds: float = _WORKER_SECONDS) -> int:
    """Exit status of a worker, once it has ended."""
    wait_for(lambda: worker.ended, f"the end of {worker.log}", seconds)
    return worker.ended.status if worker.ended else 1


def cut_off(site: Site, admin: psycopg.Connection) -> CutOff:
    """Four workers want the same days; one is cut off, its host with it, while it commits.

    The other host takes its days over when their lease has run out. Then the cable comes back,
    and with it the commit that was sent into the void.

    Raises:
        RuntimeError: A row was lost or doubled, a day had two writers, or nothing was taken over.
    """
    empty_tables(admin)
    here, there = site.network.hosts
    days = site.files.days
    victim = site.start(there, days, failpoints="publish.before_commit=stop")
    wait_for(lambda: _stopped(victim), "the worker is about to commit", _WORKER_SECONDS)
    held = _held(admin)
    others = [site.start(host, days) for host in (there, here, here)]
    there.cut_off()
    began = time.perf_counter()
    # It is not stopped any more: its heartbeats and its commit do not arrive.
    for process in _stopped(victim):
        process.send_signal(signal.SIGCONT)
    wait_for(
        lambda: _published(admin, held) == set(held) or _failed(others[1:]),
        "the days are taken over",
        _WORKER_SECONDS,
    )
    takeover_seconds = time.perf_counter() - began
    there.connect_again()
    began = time.perf_counter()
    statuses = [wait_for_end(worker) for worker in others[1:]]
    if any(statuses):
        raise RuntimeError(f"workers that nothing happened to ended with {statuses}, expected 0")
    late_status = wait_for_end(victim)
    late_seconds = time.perf_counter() - began
    wait_for_end(others[0])
    require_every_row_once(admin, site.files)
    require_one_writer_a_day(admin)
    return CutOff(takeover_seconds, late_seconds, late_status, victim.said)


def _failed(workers: Sequence[HostCommand]) -> bool:
    """Whether one of them ended badly; the words say why.

    Raises:
        RuntimeError: One did.
    """
    for worker in workers:
        if worker.ended and worker.ended.status:
            raise RuntimeError(f"{worker.log} ended with {worker.ended}: {worker.said[-3000:]}")
    return False


def _stopped(worker: HostCommand) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(worker.process.pid).children(recursive=True):
        try:
            if process.status() == psutil.STATUS_STOPPED:
                found.append(process)
        except psutil.NoSuchProcess:
            continue  # a short-lived one, not the worker
    if worker.ended:
        raise RuntimeError(f"the worker did not stop itself: {worker.said[-3000:]}")
    return found


def _held(admin: psycopg.Connection) -> Mapping[str, str]:
    """Holder of each lease by resource."""
    rows = admin.execute("SELECT resource, holder FROM ops.leases").fetchall()
    if not rows:
        raise RuntimeError("no lease is held by the worker that is about to commit")
    return dict(rows)


def _published(admin: psycopg.Connection, resources: Mapping[str, str]) -> set[str]:
    rows = admin.execute(
        "SELECT resource FROM ops.loads WHERE state = 'success' AND resource = ANY (%s)",
        (list(resources),),
    ).fetchall()
    return {row[0] for row in rows}


COMMAND = Command("hosts", "workers on several hosts that share one database", SCALES, run_hosts)
