"""Seconds, write-ahead log and memory of one piece of work, and medians over repetitions."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

MIBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure, measured several times."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sample":
        """A sample of at least one value."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """Lowest and highest value."""
        return f"{min(self.values):.3g} - {max(self.values):.3g}"


def paired_ratios(slow: Sequence[float], fast: Sequence[float]) -> Sample:
    """How many times as fast the second is, pair by pair.

    Pairs run one after the other under the same load of the machine, so their ratio is steadier
    than the ratio of two medians.
    """
    return Sample.of([a / b for a, b in zip(slow, fast, strict=True)])


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took.

    Attributes:
        seconds: Wall clock.
        wal_bytes: Write-ahead log written by the whole server meanwhile.
        checkpoints: Checkpoints finished meanwhile; each makes the next change of a page dearer.
        client_cpu_seconds: Processor time of this process, all its threads; in steps of 10 ms.
        server_cpu_seconds: The same of all processes of the server, 0 where they are not ours.
    """

    seconds: float
    wal_bytes: int
    checkpoints: int
    client_cpu_seconds: float = 0.0
    server_cpu_seconds: float = 0.0

    @property
    def cpu_seconds(self) -> float:
        """Processor time of both sides."""
        return self.client_cpu_seconds + self.server_cpu_seconds


def measure(
    server: psycopg.Connection,
    work: Callable[[], None],
    *,
    checkpoint: bool = True,
    postmaster: psutil.Process | None = None,
) -> Cost:
    """Run work once.

    Args:
        server: A connection in autocommit, of a role that may issue CHECKPOINT.
        work: What is measured.
        checkpoint: Begin right after one: the first change of each page then logs all of it.
        postmaster: The server's first process, where its processor time is wanted.
    """
    if checkpoint:
        server.execute("CHECKPOINT")
    gc.collect()
    checkpoints, position = _checkpoints(server), _wal_position(server)
    server_cpu, client_cpu = server_cpu_seconds(postmaster), _client_cpu_seconds()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    client_cpu = _client_cpu_seconds() - client_cpu
    server_cpu = server_cpu_seconds(postmaster) - server_cpu
    written = _wal_position(server) - position
    finished = _checkpoints(server) - checkpoints
    return Cost(seconds, written, finished, client_cpu, server_cpu)


def _client_cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def children_cpu_seconds() -> float:
    """Processor time of the processes that this one started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def server_cpu_seconds(postmaster: psutil.Process | None) -> float:
    """Processor time of a server so far: of processes that live, and of those that have ended."""
    if postmaster is None:
        return 0.0
    while True:
        ended, total = _ended_cpu_seconds(postmaster), 0.0
        for process in (postmaster, *postmaster.children()):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        # One that ends meanwhile is counted twice, or not at all.
        if _ended_cpu_seconds(postmaster) == ended:
            return total + ended


def _ended_cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def peak_memory_mb() -> float:
    """The most memory this process ever had resident, in MiB; Linux only."""
    # Not ru_maxrss: a child inherits that of the process it was forked from.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM, expected the peak resident memory")


def _wal_position(server: psycopg.Connection) -> int:
    return int(_value(server, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))


def _checkpoints(server: psycopg.Connection) -> int:
    if server.info.server_version >= 170000:
        return int(_value(server, "SELECT num_timed + num_requested FROM pg_stat_checkpointer"))
    return int(_value(server, "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter"))


def _value(server: psycopg.Connection, query: str) -> int:
    row = server.execute(query).fetchone()  # type: ignore[call-overload]
    # reason: psycopg wants literal queries, and these are literals of this module
    assert row is not None
    return int(row[0])
