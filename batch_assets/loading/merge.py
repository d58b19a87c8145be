"""Bring a target to what is staged, writing only new and changed rows.

Staged rows are matched with the target once; where that says that no row is new, changed or
absent, the statement that would write it is not run. Nothing here commits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import dict_row

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract, Window
from batch_assets.execution.failpoints import reach
from batch_assets.loading.history import check_kept
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.windows import WindowSql, window_arrays, window_bounds
from batch_assets.postgres.names import column_list, table_identifier

TEMPORARY_STAGING = sql.Identifier("pg_temp", "batch_assets_staging")


@dataclass(frozen=True, slots=True)
class Target:
    """A target table as the statements need it.

    Attributes:
        parts: Which rows belong to a scope and window.
        has_revision: Whether the table counts the versions of a row in `revision`.
        tells_versions: Whether it says of each row which transaction wrote it, and stores what was
            sent.
    """

    contract: TableContract
    parts: WindowSql
    has_revision: bool
    tells_versions: bool

    @property
    def copy_schema(self) -> pa.Schema:
        """Columns written by COPY: the contract's, and the load that wrote them."""
        return self.contract.columns.append(pa.field("load_id", pa.int64()))

    @property
    def stored_columns(self) -> list[str]:
        """Columns of a stored row that its former versions have too."""
        return [*self.copy_schema.names, *(["revision"] if self.has_revision else [])]


@dataclass(frozen=True, slots=True)
class Matched:
    """Staged rows of one load, as the target knows them.

    Attributes:
        staged: All of them.
        known: Rows whose key the target has.
        equal: Those of them that say the same.
    """

    staged: int = 0
    known: int = 0
    equal: int = 0


def with_load_id(rows: pa.RecordBatch, load_id: int) -> pa.RecordBatch:
    """Rows with the column that says which load wrote them."""
    values = pa.repeat(pa.scalar(load_id, pa.int64()), rows.num_rows)
    return rows.append_column("load_id", values)


def create_temporary_staging(conn: psycopg.Connection, target: Target) -> None:
    """A staging table of this connection, made once and emptied by every commit."""
    conn.execute(
        sql.SQL(
            "CREATE TEMP TABLE IF NOT EXISTS batch_assets_staging ON COMMIT DELETE ROWS "
            "AS SELECT {} FROM {} WITH NO DATA"
        ).format(column_list(target.copy_schema.names), target.parts.target)
    )


def forbid_nested_loops(conn: psycopg.Connection) -> None:
    """Join by hash or by order until the transaction ends.

    A window that is newer than the target's statistics is estimated at one row. The planner then
    compares every staged row with every row of the window: 14 s for 6,000 rows (measured), and
    four times that for twice as many.
    """
    conn.execute("SET LOCAL enable_nestloop = off")


@contextmanager
def _only_by_address(conn: psycopg.Connection) -> Iterator[None]:
    """Leave the planner no other way to a row than its address.

    By its estimate of one row for a new window (see forbid_nested_loops) reading the window first
    would be cheapest.
    """
    names = ("seqscan", "indexscan", "indexonlyscan", "bitmapscan")
    conn.execute("; ".join(f"SET LOCAL enable_{name} = off" for name in names))
    yield
    conn.execute("; ".join(f"SET LOCAL enable_{name} TO DEFAULT" for name in names))


def merge_staged(
    conn: psycopg.Connection,
    target: Target,
    staging: sql.Composable,
    windows: Sequence[Window],
    load_ids: Sequence[int],
) -> dict[int, Ledger]:
    """Match what is staged and write what differs.

    Args:
        staging: Table with the COPY columns; keys are unique in it, `load_id` names the window.
        windows: The windows staged; `load_ids` in the same order.

    Returns:
        Inserted, updated, unchanged and deleted rows by load_id, as the server counted them.
    """
    merge = Merge(conn, target, MergeSql.of(target, staging), windows, load_ids)
    return merge.write(merge.match())


@dataclass(slots=True)
class Merge:
    """The steps of one merge; see merge_staged.

    Attributes:
        looks_up: Look each staged row up by its key, for few rows in a large window. Else all rows
            of the windows are read once for each join.
    """

    conn: psycopg.Connection
    target: Target
    statements: "MergeSql"
    windows: Sequence[Window]
    load_ids: Sequence[int]
    looks_up: bool = False

    def match(self) -> dict[int, Matched]:
        """What the target has of the staged rows, by load_id; nothing is written."""
        if not self.looks_up:
            self._forbid_nested_loops()
        rows = self.conn.execute(self._read("match_staged"), window_bounds(self.windows)).fetchall()
        found = {load_id: Matched(*counts) for load_id, *counts in rows}
        return {load_id: found.get(load_id, Matched()) for load_id in self.load_ids}

    def write(
        self, matched: Mapping[int, Matched], rows_before: Mapping[int, int] | None = None
    ) -> dict[int, Ledger]:
        """Keep, delete, update and insert what differs.

        Args:
            matched: What `match` found, of the rows that are still staged.
            rows_before: Rows of the target that staged rows can stand for, by load_id: where all
                of them are matched, none is absent. None if that is not known.

        Returns:
            Rows by load_id, as the server counted them.
        """
        deleted = self._delete_absent(matched, rows_before)
        updated = self._update_changed(matched)
        reach("merge.before_insert")
        inserted: dict[int, int] = {}
        if any(found.staged > found.known for found in matched.values()):
            inserted = self._counted("insert_new", window_bounds(self.windows))
        return {
            load_id: Ledger(
                inserted=inserted.get(load_id, 0),
                updated=updated.get(load_id, 0),
                unchanged=matched[load_id].equal,
                deleted=deleted.get(load_id, 0),
            )
            for load_id in self.load_ids
        }

    def _delete_absent(
        self, matched: Mapping[int, Matched], rows_before: Mapping[int, int] | None
    ) -> dict[int, int]:
        contract = self.target.contract
        if contract.disposition is not Disposition.REPLACE:
            return {}
        lacking = [
            (load_id, window)
            for load_id, window in zip(self.load_ids, self.windows, strict=True)
            if rows_before is None or rows_before[load_id] != matched[load_id].known
        ]
        if not lacking:
            return {}
        self._forbid_nested_loops()
        windows = [window for _, window in lacking]
        arrays = {
            **window_arrays(windows),
            **window_bounds(windows),
            "load_ids": [load_id for load_id, _ in lacking],
        }
        kept = self.statements.keep(self.conn, "keep_absent", arrays)
        deleted = self._counted("delete_absent", arrays)
        check_kept(contract, kept, sum(deleted.values()))
        return deleted

    def _update_changed(self, matched: Mapping[int, Matched]) -> dict[int, int]:
        contract = self.target.contract
        if contract.disposition is Disposition.APPEND or all(
            found.known == found.equal for found in matched.values()
        ):
            return {}
        bounds = window_bounds(self.windows)
        kept = self.statements.keep(self.conn, "keep_changed", bounds, looks_up=self.looks_up)
        updated = self._update_found() if self.looks_up else self._update_joined()
        check_kept(contract, kept, sum(updated.values()))
        return updated

    def _update_joined(self) -> dict[int, int]:
        self._forbid_nested_loops()
        return self._counted("update_changed", window_bounds(self.windows))

    def _update_found(self) -> dict[int, int]:
        """Update few rows where they are: a join would read all rows of the windows.

        Rows that somebody else changes between the two statements are not found again: there are
        fewer updates than read rows ask for, and the ledger does not balance.
        """
        bounds = window_bounds(self.windows)
        with self.conn.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(self._read("find_changed"), bounds).fetchone()
        with _only_by_address(self.conn):
            return self._counted("update_found", {**bounds, **(found or {})})

    def _forbid_nested_loops(self) -> None:
        # Rows of a shared target are looked up by key: staging has been analysed, bounds are none.
        if not self.target.contract.shares_target:
            forbid_nested_loops(self.conn)

    def _counted(self, name: str, parameters: Mapping[str, object]) -> dict[int, int]:
        return dict(self.conn.execute(self._read(name), parameters).fetchall())

    def _read(self, name: str) -> bytes | sql.Composed:
        return self.statements.write(name, self.conn, looks_up=self.looks_up)


@dataclass(frozen=True, slots=True)
class MergeSql:
    """The merge statements of one contract and staging table."""

    target: Target
    parts: Mapping[str, sql.Composable]

    @classmethod
    def of(cls, target: Target, staging: sql.Composable) -> "MergeSql":
        """Build the parts for a staging table."""
        contract = target.contract
        values = [name for name in contract.columns.names if name not in contract.key]
        compared = contract.compared_columns
        is_same: sql.Composable = sql.SQL("TRUE")
        if compared and contract.disposition is not Disposition.APPEND:
            is_same = sql.SQL("ROW({}) IS NOT DISTINCT FROM ROW({})").format(
                prefixed("s", compared), prefixed("t", compared)
            )
        assignments: list[sql.Composable] = [
            sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in (*values, "load_id")
        ]
        if target.has_revision:
            assignments.append(sql.SQL("revision = t.revision + 1"))
        written = target.copy_schema.names
        parts: dict[str, sql.Composable] = {
            "staging": staging,
            "key_match": sql.SQL(" AND ").join(
                sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in contract.key
            ),
            "first_key": sql.Identifier(contract.key[0]),
            "is_same": is_same,
            "assignments": sql.SQL(", ").join(assignments),
            "columns": column_list(written),
            "staged_columns": prefixed("s", written),
            "staged_key": prefixed("s", contract.key),
        }
        return cls(target, parts)

    def read(self, name: str, *, looks_up: bool = False, **parts: sql.Composable) -> sql.Composed:
        """A named query with the parts of this merge filled in."""
        joined = self._looked_up() if looks_up else self._joined()
        return self.target.parts.read(name, **self.parts, **joined, **parts)

    def write(self, name: str, conn: psycopg.Connection, *, looks_up: bool) -> bytes | sql.Composed:
        """The same, composed once where the staging table is always the same one."""
        if self.parts["staging"] is not TEMPORARY_STAGING:
            return self.read(name, looks_up=looks_up)
        variant = "looked up" if looks_up else "joined"
        return self.target.parts.write(
            name, conn, lambda: self.read(name, looks_up=looks_up), variant
        )

    def _joined(self) -> dict[str, sql.Composable]:
        """Rows of the target for a join of the planner's choice."""
        target = self.target.parts
        match = sql.SQL("{} AND {} AND {}").format(
            self.parts["key_match"], target.scope_match, target.bounds_match
        )
        return {
            "target_rows": sql.SQL("{} AS t").format(target.target),
            "match": match,
            "fence": sql.SQL(""),
        }

    def _looked_up(self) -> dict[str, sql.Composable]:
        """Rows of the target by the key of each staged row; OFFSET 0 leaves no other plan.

        A window that is newer than the statistics is estimated at one row, and reading all of it
        for each staged row would seem cheaper than the index.
        """
        fence = sql.SQL(" OFFSET 0")
        joined = self._joined()
        rows = sql.SQL(
            "LATERAL (SELECT t.ctid AS place, t.tableoid AS part, t.* FROM {} WHERE {}{}) AS t"
        ).format(joined["target_rows"], joined["match"], fence)
        return {"target_rows": rows, "match": sql.SQL("TRUE"), "fence": fence}

    def keep(
        self,
        conn: psycopg.Connection,
        name: str,
        parameters: Mapping[str, object],
        *,
        looks_up: bool = False,
    ) -> int:
        """Copy versions to the history, if the contract has one; returns how many."""
        history = self.target.contract.history_table
        if history is None:
            return 0
        names = self.target.stored_columns
        statement = self.read(
            name,
            looks_up=looks_up,
            history=table_identifier(history),
            kept_columns=column_list(names),
            stored_columns=prefixed("t", names),
        )
        return conn.execute(statement, parameters).rowcount


def prefixed(alias: str, names: Sequence[str]) -> sql.Composed:
    """Column names of one table alias, joined with commas."""
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)
