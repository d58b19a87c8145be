"""Leases and loads of processes that ended without a word, and how they are given back.

Whether a process is gone is not decided here: runs/repair.py knows. Without it everything here
heals too, when a later load of the same window takes the expired lease over (leases.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class Hold:
    """A lease, as seen by somebody else.

    Attributes:
        resource: What is leased.
        token: Its fencing token.
        host: Node name of the holder.
        pid: Process id of the holder, on that host.
        run_id: Dagster run of the holder; None outside of Dagster.
        is_silent: Expired, and not renewed for the grace period after that.
        has_backend: The server process with which it was taken is there.
    """

    resource: str
    token: int
    host: str
    pid: int
    run_id: str | None
    is_silent: bool
    has_backend: bool = True


def read_holds(conn: psycopg.Connection, *, grace_seconds: float) -> list[Hold]:
    """All leases there are, in order of their resource; as many as windows being written now."""
    rows = conn.execute(read_query("read_holds"), {"grace_seconds": grace_seconds}).fetchall()
    return [_as_hold(*row) for row in rows]


def read_running_run_ids(conn: psycopg.Connection) -> set[str]:
    """Dagster runs that have a load in state `running`."""
    rows = conn.execute(
        "SELECT DISTINCT run_id FROM ops.loads WHERE state = 'running' AND run_id IS NOT NULL"
    ).fetchall()
    return {row[0] for row in rows}


def end_holds(
    conn: psycopg.Connection,
    holds: Sequence[Hold],
    *,
    run_id: str | None,
    is_dead: bool,
    message: str,
) -> tuple[int, int]:
    """End the backends and leases of a holder that is gone and close its loads as failed.

    Args:
        holds: The leases; those that changed hands since are left alone.
        run_id: Loads of this run that have no lease any more are closed as well.
        is_dead: The process is known to be dead; otherwise only leases that are expired at this
            moment are ended.
        message: For the ledger, to a person.

    Returns:
        Number of leases ended and of loads closed.
    """
    parameters = {
        "resources": [hold.resource for hold in holds],
        "tokens": [hold.token for hold in holds],
        "is_dead": is_dead,
        "run_id": run_id,
        "message": message,
    }
    conn.execute(read_query("end_backends"), parameters)
    row = conn.execute(read_query("end_holds"), parameters).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def _as_hold(resource: str, token: int, holder: str, is_silent: bool, has_backend: bool) -> Hold:
    process, _, run_id = holder.partition(" run ")
    host, _, pid = process.rpartition(":")
    return Hold(resource, token, host, int(pid), run_id or None, is_silent, has_backend)
