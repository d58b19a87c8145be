"""What the runs and the database server do now, for the page; measures come from ops/resources."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

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


def read_server_use(conn: psycopg.Connection) -> ServerUse:
    """Look now."""
    with conn.cursor(row_factory=class_row(ServerUse)) as cursor:
        server = cursor.execute(read_query("read_server_use")).fetchone()
    assert server is not None  # noqa: S101 - a SELECT without FROM gives one row
    return server
