"""Staged chunks that nobody went on with: their checkpoints and tables.

Windows are taken with their own lease while their chunks go, so that no load continues them.
"""

from collections.abc import Iterator
from datetime import datetime

import psycopg
from psycopg import sql

from batch_assets.loading.leases import Connector, Holder, acquire_leases, release_leases
from batch_assets.loading.staging import staging_name
from batch_assets.monitoring.retention import Pruned
from batch_assets.postgres.connect import translating_errors

_LEASE_SECONDS = 60.0


def prune_staging(connect: Connector, before: datetime, *, dry_run: bool) -> Iterator[Pruned]:
    """Remove windows whose last chunk is older than a moment, and tables without chunks.

    Args:
        connect: Opens a connection.
        before: The moment.
        dry_run: Count, and remove nothing.

    Yields:
        The windows, then the tables that no window has.

    Raises:
        DatabaseUnavailable: The database failed; windows before are gone.
    """
    with translating_errors(), connect() as conn:
        tables = _staging_tables(conn)
        # Streams keep their position in the same table, for ever, without a hash and a table.
        old = [
            str(row[0])
            for row in conn.execute(
                "SELECT resource FROM ops.checkpoints WHERE source_hash <> '' GROUP BY resource"
                " HAVING max(committed_at) < %s ORDER BY resource",
                (before,),
            )
            if staging_name(str(row[0])) in tables
        ]
        conn.commit()
        gone = old if dry_run else [one for one in old if _remove_window(conn, one)]
        yield Pruned("staged windows", len(gone), before)
        orphans = find_orphan_tables(conn)
        if not dry_run:
            for name in orphans:
                conn.execute(_drop(name))
        conn.commit()
        yield Pruned("staging tables without a window", len(orphans), before)


def _remove_window(conn: psycopg.Connection, resource: str) -> bool:
    """False where somebody is loading the window after all."""
    holder = Holder()
    tokens = acquire_leases(conn, [resource], holder=holder, lease_seconds=_LEASE_SECONDS)
    if tokens:
        conn.execute("DELETE FROM ops.checkpoints WHERE resource = %s", (resource,))
        conn.execute(_drop(staging_name(resource)))
        release_leases(conn, tokens)
    conn.commit()
    return bool(tokens)


def find_orphan_tables(conn: psycopg.Connection) -> list[str]:
    """Staging tables without a lease and without checkpoints; ends the open transaction."""
    # Tables before leases: one that is made after this look is not in it.
    tables = _staging_tables(conn)
    conn.commit()
    used = {
        staging_name(str(row[0]))
        for row in conn.execute(
            "SELECT resource FROM ops.leases UNION SELECT resource FROM ops.checkpoints"
        )
    }
    return sorted(tables - used)


def _staging_tables(conn: psycopg.Connection) -> set[str]:
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace"
        " AND relkind = 'r' AND relname ~ '^window_[0-9a-f]{32}$'"
    )
    return {str(row[0]) for row in rows}


def _drop(name: str) -> sql.Composed:
    return sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("staging", name))
