"""Who writes what now: leases, as operators see them."""

from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Lock:
    """A lease.

    Attributes:
        resource: Target, scope and window.
        holder: Host, process and run.
        held_seconds: Since it was taken.
        silent_seconds: Since its holder was last heard of.
        expires_in_seconds: Until somebody else may take it; negative where it has run out.
    """

    resource: str
    holder: str
    held_seconds: float
    silent_seconds: float
    expires_in_seconds: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": 1, "event": "lock", **asdict(self)}


def list_locks(conn: psycopg.Connection) -> list[Lock]:
    """All leases, the oldest first."""
    with conn.cursor(row_factory=class_row(Lock)) as cursor:
        return cursor.execute(
            "SELECT resource, holder,"
            " extract(epoch FROM clock_timestamp() - acquired_at)::float8 AS held_seconds,"
            " extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent_seconds,"
            " extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in_seconds"
            " FROM ops.leases ORDER BY acquired_at, resource"
        ).fetchall()
