"""Up to where a rising column may be read: nothing below the horizon can still appear.

A transaction that is under way may hold a row with a value below those that others have committed
already; whoever reads past it never sees it. Rows written by transactions that began to write
after the oldest one under way are therefore left to the next run.

What this does not cover: a value that is drawn long before its transaction writes for the first
time (`now()` in a transaction that first reads for an hour). `lookback` reads such a stretch again.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from batch_assets.sources.tables.statement import OrderedColumns, Position, SourceStatement, written
from batch_assets.sources.tables.transfer import Transfer

# A row is settled if its transaction is older than every transaction under way. age() counts
# back from the next transaction, and is the largest integer for rows frozen long ago.
_IS_UNSETTLED = sql.SQL("age(t.xmin) <= age(pg_snapshot_xmin(pg_current_snapshot())::xid)")


def find_horizon(
    conn: psycopg.Connection, transfer: Transfer, start: Sequence[sql.Composable]
) -> str | None:
    """The lowest value that is not settled yet, as text; None if all that is visible is.

    Args:
        conn: The snapshot that is read afterwards.
        start: Conditions of what would be read.
    """
    if not transfer.table:
        # A query has no row versions to look at; `lookback` has to cover it.
        return None
    row = conn.execute(
        sql.SQL("SELECT min({})::text FROM {} WHERE {}").format(
            sql.Identifier("t", transfer.incremental_column),
            SourceStatement(transfer).relation,
            sql.SQL(" AND ").join([*start, _IS_UNSETTLED]),
        )
    ).fetchone()
    return row[0] if row else None


def start_of_run(
    transfer: Transfer, ordered: OrderedColumns, position: Position
) -> list[sql.Composable]:
    """Where a run begins: at the last position's value, equal values included, less the lookback.

    Rows with the same value may have come since, with a smaller key. They are read again, and
    those that are known are unchanged.
    """
    if not position:
        return [sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", ordered.names[0]))]
    start: sql.Composable = sql.SQL("{}::{}").format(
        sql.Literal(str(position["p0"])), written(ordered.type_names[0])
    )
    if transfer.lookback:
        is_number = transfer.lookback.replace(".", "", 1).isdigit()
        step = sql.SQL("{}") if is_number else sql.SQL("{}::interval")
        value = written(transfer.lookback) if is_number else sql.Literal(transfer.lookback)
        start = sql.SQL("({} - {})").format(start, step.format(value))
    return [sql.SQL("{} >= {}").format(sql.Identifier("t", ordered.names[0]), start)]


def below(ordered: OrderedColumns, horizon: str) -> sql.Composed:
    """Rows below the horizon."""
    return sql.SQL("{} < {}::{}").format(
        sql.Identifier("t", ordered.names[0]), sql.Literal(horizon), written(ordered.type_names[0])
    )
