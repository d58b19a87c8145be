"""Up to where a rising column may be read: nothing below the horizon can still appear.

A transaction that is under way may hold a row with a value below those that others have committed
already; whoever reads past it never sees it. Rows written by transactions that began to write
after the oldest one under way are therefore left to the next run, and counted. Transactions of
other databases of the server cannot write here, and hold nothing back.

What this does not cover: a value that is drawn long before its transaction writes for the first
time (`now()` in a transaction that first reads for an hour). `lookback` reads such a stretch again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.tables.statement import OrderedColumns, SourceStatement, written
from batch_assets.sources.tables.transfer import Transfer

# A row is settled if its transaction is older than every one that may still write. age() counts
# back from the next transaction, and is the largest integer for rows frozen long ago.
_IS_UNSETTLED = sql.SQL("age(t.xmin) <= age({}::xid)")


@dataclass(frozen=True, slots=True)
class Horizon:
    """Where a run has to stop, and why.

    Attributes:
        value: The lowest value that is not settled, as text; rows from it on are left.
        waiting_rows: Rows that are left and that no earlier run has read.
        waits_for: The transaction that may still hold a lower value, in words.
    """

    value: str
    waiting_rows: int
    waits_for: str


def find_horizon(
    conn: psycopg.Connection,
    transfer: Transfer,
    ordered: OrderedColumns,
    start: Sequence[sql.Composable],
    position: Position,
) -> Horizon | None:
    """Up to where rows are settled; None if all that is visible is.

    Args:
        conn: The snapshot that is read afterwards.
        start: Conditions of what would be read.
        position: The last row that an earlier run has read; empty if there was none.
    """
    if not transfer.table:
        # A query has no row versions to look at; `lookback` has to cover it.
        return None
    writer = conn.execute(read_query("find_oldest_writer")).fetchone()
    if writer is None:
        return None
    xid, *described = writer
    relation = SourceStatement(transfer).relation
    is_unsettled = _IS_UNSETTLED.format(sql.Literal(xid))
    lowest = conn.execute(
        sql.SQL("SELECT min({})::text FROM {} WHERE {}").format(
            sql.Identifier("t", ordered.names[0]),
            relation,
            sql.SQL(" AND ").join([*start, is_unsettled]),
        )
    ).fetchone()
    if lowest is None or lowest[0] is None:
        return None
    value = str(lowest[0])
    is_new = ordered.compared(">", position) if position else sql.SQL("TRUE")
    counted = conn.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE {} AND NOT {} AND ({} OR {})").format(
            relation, sql.SQL(" AND ").join(start), below(ordered, value), is_new, is_unsettled
        )
    ).fetchone()
    return Horizon(value, int(counted[0]) if counted else 0, _described(*described))


def _described(pid: int | None, application: str, gid: str | None, since: datetime | None) -> str:
    """Who is waited for. A role without pg_read_all_stats is not told since when."""
    begun = f", under way since {since:%Y-%m-%d %H:%M:%S%z}" if since else ", under way"
    if gid is not None:
        return f"the prepared transaction {gid!r}{begun}"
    if pid is None:
        return "a transaction that has ended since, or is one of the primary server"
    who = f" ({application})" if application else ""
    return f"the transaction of pid {pid}{who}{begun}"


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
