"""What this process and its container use: processor, memory, worker processes, connections.

Alerts and Prometheus read the same sources (monitoring/snapshot.py); here they have the shape of
the original service's answers.
"""

import threading
import time
from dataclasses import dataclass

import psutil
import psycopg

from batch_assets.execution.capacity import cpu_worker_count, io_thread_count, read_capacity
from batch_assets.execution.isolation import SPOOL_NAME
from batch_assets.execution.pool_statistics import PoolReport, read_pool_reports
from batch_assets.execution.usage import Usage, read_usage
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings

# Shorter spans say more about the question than about the load.
_LEAST_SECONDS = 1.0
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """This process; memory_percent of what the container may use, cpu_percent of one core."""

    memory_usage_mb: float
    memory_percent: float
    cpu_percent: float
    threads_count: int
    open_files: int


@dataclass(frozen=True, slots=True)
class SystemUse:
    """The container, or the machine where nothing limits us; percent of what may be used."""

    total_memory_mb: float
    available_memory_mb: float
    memory_percent: float
    cpu_percent: float
    cpu_count: float


@dataclass(frozen=True, slots=True)
class Resources:
    """What is used now; processor shares since the look before."""

    process: ProcessUse
    system: SystemUse


class ResourceMeter:
    """Measures processor shares between looks, whoever looks; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = psutil.Process()
        self._looked_at = time.monotonic()
        self._spent = (_own_seconds(self._process), _all_seconds(read_usage()))
        self._shares = (0.0, 0.0)

    def read(self) -> Resources:
        """What is used now."""
        usage = read_usage()
        own, all_ = self._measure(usage)
        memory_bytes = self._process.memory_info().rss
        limit_bytes = usage.memory_limit_bytes
        return Resources(
            ProcessUse(
                memory_usage_mb=round(memory_bytes / _MEBIBYTE, 1),
                memory_percent=round(100 * memory_bytes / limit_bytes, 2),
                cpu_percent=round(100 * own, 1),
                threads_count=self._process.num_threads(),
                open_files=self._process.num_fds(),
            ),
            SystemUse(
                total_memory_mb=round(limit_bytes / _MEBIBYTE, 1),
                available_memory_mb=round((limit_bytes - usage.memory_bytes) / _MEBIBYTE, 1),
                memory_percent=round(100 * usage.memory_ratio, 2),
                cpu_percent=round(min(100.0, 100 * all_ / usage.cpus), 1),
                cpu_count=usage.cpus,
            ),
        )

    def _measure(self, usage: Usage) -> tuple[float, float]:
        with self._lock:
            now = time.monotonic()
            seconds = now - self._looked_at
            if seconds >= _LEAST_SECONDS:
                spent = (_own_seconds(self._process), _all_seconds(usage))
                self._shares = (
                    (spent[0] - self._spent[0]) / seconds,
                    (spent[1] - self._spent[1]) / seconds,
                )
                self._looked_at, self._spent = now, spent
            return self._shares


def _own_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _all_seconds(usage: Usage) -> float:
    if usage.cpu_seconds is not None:
        return usage.cpu_seconds
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


@dataclass(frozen=True, slots=True)
class ExecutorUse:
    """Worker processes and threads.

    Attributes:
        process_workers: Worker processes that one pool of this configuration may have.
        thread_workers: Threads that wait for files and networks.
        pools: The pools of isolated workers that are open now, of all processes of this host.
    """

    process_workers: int
    thread_workers: int
    pools: list[PoolReport]


def read_executors(settings: Settings) -> ExecutorUse:
    """What may run at once, and what does."""
    execution, capacity = settings.execution, read_capacity()
    return ExecutorUse(
        cpu_worker_count(capacity, execution.worker_memory_bytes, execution.cpu_workers),
        io_thread_count(capacity),
        read_pool_reports(settings.state_dir / SPOOL_NAME),
    )


@dataclass(frozen=True, slots=True)
class ConnectionUse:
    """Connections of one application name to our database."""

    application: str
    connections: int
    active: int
    idle_in_transaction: int


@dataclass(frozen=True, slots=True)
class ServerConnections:
    """Connections to the server.

    Attributes:
        max_connections: That it takes, without those kept for superusers.
        connections: Open now, to all databases.
        applications: To our database, the most numerous first.
    """

    max_connections: int
    connections: int
    applications: list[ConnectionUse]


def read_connections(conn: psycopg.Connection) -> ServerConnections:
    """Who is connected."""
    rows = conn.execute(read_query("read_connections")).fetchall()
    return ServerConnections(
        max_connections=int(rows[0][4]),
        connections=int(rows[0][5]),
        applications=[ConnectionUse(*row[:4]) for row in rows],
    )
