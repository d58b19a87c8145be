"""Take windows to write: the lease and the line in the ledger of each, before anything else.

Both survive a rollback of what follows. Leases themselves are in leases.py.
"""

from collections.abc import Sequence

import psycopg

from batch_assets.loading.leases import Holder, acquire_leases
from batch_assets.loading.loads import LoadContext, open_loads
from batch_assets.loading.prepare import WindowSource
from batch_assets.postgres.sql_files import read_query

Opened = tuple[dict[str, int], dict[str, int]]
"""Tokens by resource and load_ids by window key, of the windows obtained."""


def open_windows(
    conn: psycopg.Connection,
    context: LoadContext,
    windows: Sequence[WindowSource],
    *,
    lease_seconds: float,
) -> Opened:
    """Take the windows that are free or expired, and commit.

    Args:
        conn: Outside of a transaction. Committing here is what makes the lease visible.
    """
    tokens, load_ids = _open_free(conn, context, windows, lease_seconds)
    if len(tokens) < len(windows):
        others = [w for w in windows if context.resource(w.window) not in tokens]
        more_tokens, more_ids = _open_expired(conn, context, others, lease_seconds)
        tokens |= more_tokens
        load_ids |= more_ids
    return tokens, load_ids


def _open_free(
    conn: psycopg.Connection,
    context: LoadContext,
    windows: Sequence[WindowSource],
    lease_seconds: float,
) -> Opened:
    # One statement that commits itself: three trips less than BEGIN, statements, COMMIT.
    conn.autocommit = True
    try:
        rows = conn.execute(
            read_query("open_free_windows"),
            {
                **context.common(),
                "holder": Holder(context.run_id).name,
                "lease_seconds": lease_seconds,
                "window_keys": [source.window.key for source in windows],
                "resources": [context.resource(source.window) for source in windows],
                "source_files": [source.source_file for source in windows],
                "source_hashes": [source.source_hash for source in windows],
            },
        ).fetchall()
    finally:
        if not conn.closed:
            conn.autocommit = False
    tokens = {resource: token for _, _, resource, token in rows}
    return tokens, {key: load_id for key, load_id, _, _ in rows}


def _open_expired(
    conn: psycopg.Connection,
    context: LoadContext,
    windows: Sequence[WindowSource],
    lease_seconds: float,
) -> Opened:
    conn.execute("SET LOCAL synchronous_commit = off")
    tokens = acquire_leases(
        conn,
        [context.resource(source.window) for source in windows],
        holder=Holder(context.run_id),
        lease_seconds=lease_seconds,
    )
    opened = [
        (source.window, source.source_file, source.source_hash)
        for source in windows
        if context.resource(source.window) in tokens
    ]
    load_ids = open_loads(conn, context, opened, tokens) if opened else {}
    conn.commit()
    return tokens, load_ids
