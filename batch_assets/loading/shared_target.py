"""Publish windows that bring rows to one table without bounds of their own: a window for each file.

Such a window has no rows of its own to count: a key belongs to whoever wrote it last. Its rows in
the target are those with its keys, so that a small file costs what it holds, not what the table
holds. Nothing here commits.
"""

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from batch_assets.loading.copy import copy_batches
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.publish import (
    TEMPORARY_STAGING,
    MergeSql,
    Published,
    Target,
    checked_publish,
    create_temporary_staging,
    merge_staged,
    with_load_id,
)
from batch_assets.loading.report import PublishPath


def publish_shared(
    conn: psycopg.Connection,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
) -> dict[str, Published]:
    """Publish windows one after the other: a later file may change an earlier one's rows.

    Args:
        load_ids: ops.loads row by window key.

    Returns:
        What happened, by window key.

    Raises:
        LedgerImbalance: The server's counts do not add up; the caller rolls back.
    """
    lock_shared(conn, target)
    return {
        item.window.key: _publish(conn, target, item, load_ids[item.window.key]) for item in windows
    }


def lock_shared(conn: psycopg.Connection, target: Target) -> None:
    """Let one writer at a time write; readers go on. The leases of the windows differ."""
    conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(target.parts.target))


def prepare_shared(conn: psycopg.Connection, target: Target, staging: sql.Composable) -> None:
    """Lock a shared target before staged rows are merged; does nothing to any other.

    The planner is told how many rows are staged: few of them are looked up by key, many joined.
    """
    if target.contract.shares_target:
        lock_shared(conn, target)
        conn.execute(sql.SQL("ANALYZE {}").format(staging))


def count_keys(conn: psycopg.Connection, target: Target, staging: sql.Composable) -> int:
    """Rows of the target that have a staged key."""
    row = conn.execute(MergeSql.of(target, staging).read("count_keys")).fetchone()
    return int(row[0]) if row else 0


def _publish(
    conn: psycopg.Connection, target: Target, item: PreparedWindow, load_id: int
) -> Published:
    rows = with_load_id(item, {item.window.key: load_id})
    if _is_empty(conn, target):
        copied = copy_batches(conn, target.parts.target, target.copy_schema, [rows])
        counts = Ledger(inserted=copied)
        return checked_publish(item, counts, PublishPath.DIRECT, 0, _count(conn, target))
    create_temporary_staging(conn, target)
    conn.execute(sql.SQL("TRUNCATE {}").format(TEMPORARY_STAGING))
    copy_batches(conn, TEMPORARY_STAGING, target.copy_schema, [rows])
    conn.execute(sql.SQL("ANALYZE {}").format(TEMPORARY_STAGING))
    before = count_keys(conn, target, TEMPORARY_STAGING)
    merged = merge_staged(conn, target, TEMPORARY_STAGING, [item.window], [load_id])
    after = count_keys(conn, target, TEMPORARY_STAGING)
    return checked_publish(item, merged[load_id], PublishPath.MERGE, before, after)


def _is_empty(conn: psycopg.Connection, target: Target) -> bool:
    found = conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(target.parts.target)
    ).fetchone()
    return found is None or not found[0]


def _count(conn: psycopg.Connection, target: Target) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(target.parts.target)).fetchone()
    return int(row[0]) if row else 0
