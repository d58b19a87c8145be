"""Count both sides of a transfer: what the source has, and what the target has of it."""

from collections.abc import Sequence
from contextlib import closing

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position
from batch_assets.loading.leases import Connector
from batch_assets.loading.report import LoadReport
from batch_assets.postgres.names import table_identifier
from batch_assets.sources.tables.horizon import start_of_run
from batch_assets.sources.tables.open import open_snapshot, reading
from batch_assets.sources.tables.statement import SourceStatement
from batch_assets.sources.tables.transfer import Transfer, TransferMode

Counts = tuple[str, int, int, int]
"""Window, rows in the source, rows in the target, and rows that were kept out."""


def count_sides(
    connect: Connector, transfer: Transfer, source: Connector, reports: Sequence[LoadReport]
) -> list[Counts]:
    """Rows of each loaded window, or of all that was transferred so far, on both sides."""
    with closing(connect()) as ours, open_snapshot(source, transfer) as theirs:
        return [_count(ours, theirs, transfer, report) for report in reports]


def _count(
    ours: psycopg.Connection, theirs: psycopg.Connection, transfer: Transfer, report: LoadReport
) -> Counts:
    conditions: list[sql.Composable] = []
    here: list[sql.Composable] = []
    kept_out = report.ledger.duplicate + report.ledger.rejected + report.ledger.skipped
    if report.window.start is not None:
        within = SourceStatement(transfer).within(report.window.start, report.window.end)
        conditions, here = [within], [within]
    if transfer.mode is TransferMode.INCREMENTAL:
        conditions.append(_up_to_position(ours, theirs, transfer, report))
        kept_out = _open_letters(ours, transfer, report)
    if transfer.mode is TransferMode.QUEUE:
        conditions.append(sql.Identifier("t", transfer.processed_column))
        kept_out = _open_letters(ours, transfer, report)
    relation = SourceStatement(transfer).relation
    with reading(transfer):
        there = _rows(theirs, relation, conditions)
    target = sql.SQL("{} AS t").format(table_identifier(transfer.target))
    return report.window.key, there, _rows(ours, target, here), kept_out


def _rows(
    conn: psycopg.Connection, relation: sql.Composable, conditions: Sequence[sql.Composable]
) -> int:
    where = sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("TRUE")
    row = conn.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(relation, where))
    found = row.fetchone()
    return int(found[0]) if found else 0


def _up_to_position(
    ours: psycopg.Connection, theirs: psycopg.Connection, transfer: Transfer, report: LoadReport
) -> sql.Composable:
    row = ours.execute(
        "SELECT position FROM ops.checkpoints WHERE resource = %s",
        (f"{transfer.target}/{report.window.key}",),
    ).fetchone()
    position: Position = row[0] if row else {}
    if not position:
        return sql.SQL("FALSE")
    names = tuple(dict.fromkeys((transfer.incremental_column, *transfer.source_keys)))
    with reading(transfer):
        ordered = SourceStatement(transfer).read_ordered(theirs, names)
    return ordered.compared("<=", position)


def _open_letters(conn: psycopg.Connection, transfer: Transfer, report: LoadReport) -> int:
    row = conn.execute(
        "SELECT count(*) FROM ops.dead_letters "
        "WHERE target = %s AND window_key = %s AND state = 'open'",
        (transfer.target, report.window.key),
    ).fetchone()
    return int(row[0]) if row else 0


def count_waiting(connect: Connector, transfer: Transfer, source: Connector) -> int:
    """Rows that a run which begins now would read; of a daily transfer, those of all days.

    Raises:
        SourceUnavailable: The source does not answer.
        ConfigurationError: The table, a column or a right is not there.
    """
    conditions: list[sql.Composable] = []
    with closing(connect()) as ours, open_snapshot(source, transfer) as theirs:
        if transfer.mode is TransferMode.INCREMENTAL:
            conditions += _beyond_position(ours, theirs, transfer)
        if transfer.mode is TransferMode.QUEUE:
            conditions.append(
                sql.SQL("{} IS NOT TRUE").format(sql.Identifier("t", transfer.processed_column))
            )
        with reading(transfer):
            return _rows(theirs, SourceStatement(transfer).relation, conditions)


def _beyond_position(
    ours: psycopg.Connection, theirs: psycopg.Connection, transfer: Transfer
) -> list[sql.Composable]:
    row = ours.execute(
        "SELECT position FROM ops.checkpoints WHERE starts_with(resource, %s || '/')"
        " ORDER BY chunk_no DESC LIMIT 1",
        (transfer.target,),
    ).fetchone()
    names = tuple(dict.fromkeys((transfer.incremental_column, *transfer.source_keys)))
    with reading(transfer):
        ordered = SourceStatement(transfer).read_ordered(theirs, names)
    return start_of_run(transfer, ordered, row[0] if row else {})
