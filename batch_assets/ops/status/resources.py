"""What the machine and the database server are used for now."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from batch_assets.execution.usage import read_usage
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class ServerUse:
    """Of the database server and the runs on it.

    Attributes:
        leases: Windows that are being written.
        leases_expired: Those whose writer is silent for too long; the reaper ends them.
        run_workers: Processes that work for runs of Dagster.
    """

    connections: int
    connections_max: int
    database_bytes: int
    leases: int
    leases_expired: int
    run_workers: int


@dataclass(frozen=True, slots=True)
class Resources:
    """Of the container this service runs in, and of its database.

    Attributes:
        cpus_used: Cores in use since the look before; None at the first look and where nothing
            counts them.
        cpus: Cores that may be used.
    """

    cpus_used: float | None
    cpus: float
    memory_bytes: int
    memory_limit_bytes: int
    server: ServerUse


class ResourceMeter:
    """Turns processor time spent into cores in use, from one look to the next."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None

    def read(self, conn: psycopg.Connection, clock_seconds: float) -> Resources:
        """Look now.

        Args:
            conn: Its transaction is left open.
            clock_seconds: Of a clock that is never set.
        """
        usage = read_usage()
        with conn.cursor(row_factory=class_row(ServerUse)) as cursor:
            server = cursor.execute(read_query("read_server_use")).fetchone()
        assert server is not None  # noqa: S101 - a SELECT without FROM gives one row
        cpus_used = self._cpus_used(usage.cpu_seconds, clock_seconds)
        return Resources(
            cpus_used, usage.cpus, usage.memory_bytes, usage.memory_limit_bytes, server
        )

    def _cpus_used(self, cpu_seconds: float | None, clock_seconds: float) -> float | None:
        before, self._before = self._before, None
        if cpu_seconds is None:
            return None
        self._before = (cpu_seconds, clock_seconds)
        if before is None or clock_seconds <= before[1]:
            return None
        return max(0.0, cpu_seconds - before[0]) / (clock_seconds - before[1])
