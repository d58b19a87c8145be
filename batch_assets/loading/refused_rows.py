"""Which staged rows a table refuses: found by halving, taken out, explained.

A constraint names one row and rolls all of them back. Here the staged rows are tried in halves,
inside savepoints, until each refused row stands alone; everything tried is rolled back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.contracts.table import Window
from batch_assets.errors import RejectLimitExceeded
from batch_assets.loading.failures import server_words
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.merge import Target, merge_staged, prefixed
from batch_assets.loading.staging import StagingTable
from batch_assets.postgres.names import column_list

Refusal = psycopg.DataError | psycopg.IntegrityError
_REFUSALS = (psycopg.DataError, psycopg.IntegrityError)

# Row addresses are (block, offset): a block of 8 KiB has fewer than 300 rows, and 32 KiB fewer
# than 1,200.
_OFFSETS = 2_048


def merge_isolating(
    conn: psycopg.Connection,
    target: Target,
    table: StagingTable,
    window: Window,
    load_id: int,
    *,
    limit_rows: int,
) -> tuple[Ledger, list[RejectedRow]]:
    """Bring the target to what is staged, without the rows that the table refuses.

    Args:
        conn: Within a transaction.
        limit_rows: More refused rows than this are not looked for: the load fails by its budget.

    Returns:
        The server's counts, and the refused rows, which are no longer staged.

    Raises:
        RejectLimitExceeded: More than `limit_rows` rows are refused.
        psycopg.Error: The rows are refused together, and none of them alone.
    """

    def merge() -> Ledger:
        with conn.transaction():
            source = table.as_merge_source(load_id)
            merged = merge_staged(conn, target, source, [window], [load_id])[load_id]
            # Deferred constraints would otherwise speak at the commit, when nothing can be mended.
            conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return merged

    try:
        return merge(), []
    except _REFUSALS:
        refused = list(_Search(conn, target, table, load_id, limit_rows).run())
        if not refused:
            raise
    return merge(), refused


@dataclass(slots=True)
class _Search:
    conn: psycopg.Connection
    target: Target
    table: StagingTable
    load_id: int
    limit_rows: int

    def run(self) -> Iterator[RejectedRow]:
        found: list[tuple[int, Refusal]] = []
        with self.conn.transaction(force_rollback=True):
            for place, error in self._refused(0, self._block_count() * _OFFSETS):
                found.append((place, error))
                if len(found) > self.limit_rows:
                    contract = self.target.contract
                    raise RejectLimitExceeded(
                        f"{contract.target}: the table refuses more than {self.limit_rows} rows, "
                        f"the last one with: {server_words(error, contract)}; "
                        "nothing was published; correct the source, or raise reject_limit_rows"
                    )
        for place, error in found:
            yield self._take_out(place, error)

    def _refused(self, start: int, end: int) -> Iterator[tuple[int, Refusal]]:
        """Places in [start, end) whose row is refused; the rows of the others stay tried."""
        error = self._try(start, end)
        if error is None:
            return
        if end - start == 1:
            yield start, error
            return
        half = (start + end) // 2
        if end - start > _OFFSETS:
            # Whole blocks, as long as there is more than one.
            half -= half % _OFFSETS
            half = half if half > start else start + _OFFSETS
        yield from self._refused(start, half)
        yield from self._refused(half, end)

    def _try(self, start: int, end: int) -> Refusal | None:
        contract = self.target.contract
        written = self.target.copy_schema.names
        changed = [name for name in written if name not in contract.key]
        statement = sql.SQL(
            "INSERT INTO {} ({}) SELECT {}, {}::bigint FROM {} AS s WHERE {} "
            "ON CONFLICT ({}) DO UPDATE SET {}"
        ).format(
            self.target.parts.target,
            column_list(written),
            prefixed("s", contract.columns.names),
            sql.Literal(self.load_id),
            self.table.name,
            _between(start, end),
            column_list(contract.key),
            sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changed
            ),
        )
        try:
            with self.conn.transaction():
                self.conn.execute(statement)
                self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except _REFUSALS as error:
            return error
        return None

    def _block_count(self) -> int:
        row = self.conn.execute(
            "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int",
            (self.table.name.as_string(self.conn),),
        ).fetchone()
        return int(row[0]) if row else 0

    def _take_out(self, place: int, error: Refusal) -> RejectedRow:
        names = self.target.contract.columns.names
        row = self.conn.execute(
            sql.SQL("DELETE FROM {} AS s WHERE {} RETURNING s.place_file, s.place_row, {}").format(
                self.table.name,
                _between(place, place + 1),
                sql.SQL(", ").join(
                    sql.SQL("{}::text").format(sql.Identifier("s", name)) for name in names
                ),
            )
        ).fetchone()
        assert row is not None  # noqa: S101 - the row was refused a moment ago
        violation = Violation(
            rule="refused_by_table",
            column=error.diag.column_name or error.diag.constraint_name or "",
            observed=server_words(error, self.target.contract),
            expected="a row that keeps every constraint of the table",
            hint="correct the row in the source, or the constraint",
        )
        return RejectedRow(row[0], row[1], (violation,), dict(zip(names, row[2:], strict=True)))


def _between(start: int, end: int) -> sql.Composed:
    """Row addresses from `start` to before `end`; both count offsets through all blocks."""
    places = [f"({place // _OFFSETS},{place % _OFFSETS})" for place in (start, end)]
    return sql.SQL("s.ctid >= {}::tid AND s.ctid < {}::tid").format(*map(sql.Literal, places))
