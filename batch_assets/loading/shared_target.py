"""Publish windows that bring rows to one table without bounds of their own: a window for each file.

Such a window has no rows of its own to count: a key belongs to whoever wrote it last. Its rows in
the target are those with its keys, so that a small file costs what it holds, not what the table
holds. Nothing here commits.
"""

from collections.abc import Iterator, Mapping, Sequence

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.table import TableContract
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.merge import (
    TEMPORARY_STAGING,
    MergeSql,
    Target,
    create_temporary_staging,
    merge_staged,
    with_load_id,
)
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.publish import Published, check_target, checked_publish
from batch_assets.loading.report import PublishPath


def publish_shared(
    conn: psycopg.Connection,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
) -> dict[str, Published]:
    """Publish windows as if one after the other: a later file may change an earlier one's rows.

    Windows that have no key in common are merged together: each statement then costs once for all
    of them.

    Args:
        load_ids: ops.loads row by window key.

    Returns:
        What happened, by window key.

    Raises:
        LedgerImbalance: The server's counts do not add up; the caller rolls back.
    """
    lock_shared(conn, target)
    rows = [with_load_id(item.rows, load_ids[item.window.key]) for item in windows]
    results: dict[str, Published] = {}
    for first, end in _without_common_keys(target.contract, rows):
        results |= _publish(conn, target, windows[first:end], rows[first:end], load_ids)
    return results


def _without_common_keys(
    contract: TableContract, rows: Sequence[pa.RecordBatch]
) -> Iterator[tuple[int, int]]:
    """Ranges of windows that follow each other: all of them, or each alone if two share a key."""
    keys = pa.Table.from_batches([batch.select(contract.key) for batch in rows])
    is_common = len(rows) > 1 and (
        keys.group_by(list(contract.key)).aggregate([]).num_rows != keys.num_rows
    )
    if not is_common:
        yield 0, len(rows)
        return
    yield from ((number, number + 1) for number in range(len(rows)))


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


def count_keys(conn: psycopg.Connection, target: Target, staging: sql.Composable) -> dict[int, int]:
    """Rows of the target that have a staged key, by the load that staged it."""
    return dict(conn.execute(MergeSql.of(target, staging).read("count_keys")).fetchall())


def _publish(
    conn: psycopg.Connection,
    target: Target,
    windows: Sequence[PreparedWindow],
    rows: Sequence[pa.RecordBatch],
    load_ids: Mapping[str, int],
) -> dict[str, Published]:
    if _is_empty(conn, target):
        return _copy(conn, target, windows, rows)
    create_temporary_staging(conn, target)
    conn.execute(sql.SQL("TRUNCATE {}").format(TEMPORARY_STAGING))
    copy_batches(conn, TEMPORARY_STAGING, target.copy_schema, rows)
    conn.execute(sql.SQL("ANALYZE {}").format(TEMPORARY_STAGING))
    ids = [load_ids[item.window.key] for item in windows]
    before = count_keys(conn, target, TEMPORARY_STAGING)
    merged = merge_staged(conn, target, TEMPORARY_STAGING, [w.window for w in windows], ids)
    after = count_keys(conn, target, TEMPORARY_STAGING)
    return {
        item.window.key: checked_publish(
            item, merged[number], PublishPath.MERGE, before.get(number, 0), after.get(number, 0)
        )
        for item, number in zip(windows, ids, strict=True)
    }


def _copy(
    conn: psycopg.Connection,
    target: Target,
    windows: Sequence[PreparedWindow],
    rows: Sequence[pa.RecordBatch],
) -> dict[str, Published]:
    """Copy into a table without rows.

    Raises:
        LedgerImbalance: It has other rows afterwards than were copied.
    """
    copied = copy_batches(conn, target.parts.target, target.copy_schema, rows)
    check_target(windows[-1].window, Ledger(inserted=copied), 0, _count(conn, target))
    return {
        item.window.key: checked_publish(item, Ledger(inserted=count), PublishPath.DIRECT, 0, count)
        for item, count in ((item, item.rows.num_rows) for item in windows)
    }


def _is_empty(conn: psycopg.Connection, target: Target) -> bool:
    found = conn.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {})").format(target.parts.target)
    ).fetchone()
    return found is None or not found[0]


def _count(conn: psycopg.Connection, target: Target) -> int:
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(target.parts.target)).fetchone()
    return int(row[0]) if row else 0
