"""Write records of devices, and what devices say of days and weeks, in the caller's transaction.

Rows are copied into temporary tables and merged from there; rollups and the latest state of each
device follow from the rows that were really written. Which rows, and who may write them, is
decided in `ingest/devices*.py`.
"""

from collections.abc import Callable
from typing import LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.loading.copy import copy_batches
from batch_assets.loading.ledger import Ledger
from batch_assets.postgres.sql_files import read_query

_AFTER_RECORDS: tuple[LiteralString, ...] = ("add_to_device_days", "advance_device_latest")


def stage_device_tables(conn: psycopg.Connection) -> None:
    """Make the temporary tables of this connection, once; they empty themselves at each commit."""
    conn.execute("SET LOCAL client_min_messages = warning")
    conn.execute(read_query("stage_device_records"))


def write_device_records(
    conn: psycopg.Connection,
    load_id: int,
    rows: pa.RecordBatch,
    *,
    before_latest: Callable[[], None] | None = None,
) -> Ledger:
    """Merge records into `devices.records`, and follow them in the rollups and the latest state.

    Args:
        rows: Content columns of the contract, `extra` (JSON text) and `row_number`: of copies
            the one with the largest counts.
        before_latest: Called when records were written, while `devices.latest` still says what
            was known before them.

    Returns:
        The server's counts. Copies within `rows` are duplicates; what was there already, with
        the same values, is unchanged.
    """
    if not rows.num_rows:
        return Ledger()
    table = sql.Identifier("pg_temp", "staged_device_records")
    staged = copy_batches(conn, table, rows.schema, [rows])
    ledger = _counted(
        staged, conn.execute(read_query("merge_device_records"), {"load_id": load_id})
    )
    if ledger.inserted or ledger.updated:
        if before_latest is not None:
            before_latest()
        for name in _AFTER_RECORDS:
            conn.execute(read_query(name))
    if ledger.updated:
        conn.execute(read_query("recompute_device_days"))
    return ledger


def write_device_periods(
    conn: psycopg.Connection,
    load_id: int,
    target: sql.Identifier,
    rows: pa.RecordBatch,
    *,
    before_merge: Callable[[], None] | None = None,
) -> Ledger:
    """Merge what devices say of days or weeks.

    Args:
        target: `devices.daily_supplied` or `devices.weekly_supplied`.
        rows: As for records, with the day or week as their second column.
        before_merge: Called while the rows are staged and `target` still says what was known
            before them.

    Returns:
        The server's counts.
    """
    if not rows.num_rows:
        return Ledger()
    period = rows.schema.names[1]
    staged_names = [name if name != period else "period" for name in rows.schema.names]
    staged_rows = rows.rename_columns(staged_names)
    table = sql.Identifier("pg_temp", "staged_device_periods")
    # Days and weeks of one part share the table, one after the other.
    conn.execute(sql.SQL("TRUNCATE {}").format(table))
    staged = copy_batches(conn, table, staged_rows.schema, [staged_rows])
    if before_merge is not None:
        before_merge()
    statement = read_query("merge_device_periods").format(
        table=target, period=sql.Identifier(period)
    )
    return _counted(staged, conn.execute(statement, {"load_id": load_id}))


def _counted(staged: int, cursor: psycopg.Cursor[tuple[int, ...]]) -> Ledger:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    keys, inserted, updated = row
    return Ledger(
        read=staged,
        inserted=inserted,
        updated=updated,
        unchanged=keys - inserted - updated,
        duplicate=staged - keys,
    )
