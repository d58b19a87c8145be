"""Make prepared rows visible, inside the caller's transaction.

An empty window is copied straight into the target. A window with rows goes through a staging
table, and only new and changed rows are written: an unchanged row costs no WAL. Nothing here
commits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract, Window
from batch_assets.contracts.window_checks import Finding
from batch_assets.errors import LedgerImbalance
from batch_assets.execution.failpoints import reach
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.history import check_kept
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.report import LoadState, PublishPath, RecognisedBy
from batch_assets.loading.window_checks import find_incomplete
from batch_assets.loading.windows import (
    KnownWindow,
    WindowSql,
    count_windows,
    read_windows,
    window_arrays,
    window_bounds,
)
from batch_assets.postgres.names import column_list, table_identifier

_PARTIAL = LoadState.PARTIAL.value

TEMPORARY_STAGING = sql.Identifier("pg_temp", "batch_assets_staging")


@dataclass(frozen=True, slots=True)
class Target:
    """A target table as the statements need it.

    Attributes:
        parts: Which rows belong to a scope and window.
        has_revision: Whether the table counts the versions of a row in `revision`.
    """

    contract: TableContract
    parts: WindowSql
    has_revision: bool

    @property
    def copy_schema(self) -> pa.Schema:
        """Columns written by COPY: the contract's, and the load that wrote them."""
        return self.contract.columns.append(pa.field("load_id", pa.int64()))

    @property
    def stored_columns(self) -> list[str]:
        """Columns of a stored row that its former versions have too."""
        return [*self.copy_schema.names, *(["revision"] if self.has_revision else [])]


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did to one window, by the server's counts.

    Attributes:
        finding: Why the window is not complete; None if nothing says so.
    """

    ledger: Ledger
    path: PublishPath
    recognised_by: RecognisedBy | None
    rows_before: int
    rows_after: int
    finding: Finding | None = None

    @property
    def state(self) -> LoadState:
        """How the load of the window ends."""
        return LoadState.PARTIAL if self.finding else LoadState.SUCCESS

    @property
    def reason(self) -> str:
        """Why it is not plain success."""
        return self.finding.reason if self.finding else ""

    @property
    def message(self) -> str:
        """The same in words."""
        return self.finding.message if self.finding else ""


def publish_windows(
    conn: psycopg.Connection,
    context: LoadContext,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
    *,
    force: bool = False,
    before_checks: Callable[[], object] = lambda: None,
) -> dict[str, Published]:
    """Publish windows whose leases are held.

    Args:
        load_ids: ops.loads row by window key.
        force: Compare row by row even where the content hash says nothing changed.
        before_checks: Called when the rows are there, before windows are compared with others.

    Returns:
        What happened, by window key.

    Raises:
        LedgerImbalance: The server's counts do not add up; the caller rolls back.
        WindowRuleBroken: A window check forbids it; the caller rolls back.
    """
    keys = [item.window for item in windows]
    before = count_windows(conn, target.parts, keys)
    # Rows that come to an empty window are new; asking what it held would be a trip for nothing.
    are_new = all(item.rows.num_rows and not before[item.window.key] for item in windows)
    known = {} if force or are_new else read_windows(conn, context, keys)
    results: dict[str, Published] = {}
    direct: list[PreparedWindow] = []
    merged: list[PreparedWindow] = []
    for item in windows:
        rows_before = before[item.window.key]
        if _is_same_content(item, known.get(item.window.key), context, rows_before):
            results[item.window.key] = _unchanged(item, rows_before)
        elif rows_before == 0:
            direct.append(item)
        else:
            merged.append(item)
    stored: dict[int, Ledger] = {}
    if direct:
        batches = (with_load_id(item, load_ids) for item in direct)
        copy_batches(conn, target.parts.target, target.copy_schema, batches)
    if merged:
        stored = _merge(conn, target, merged, load_ids)
    after = count_windows(conn, target.parts, [item.window for item in (*direct, *merged)])
    for item in direct:
        key = item.window.key
        counts = Ledger(inserted=after[key] - before[key])
        results[key] = checked_publish(item, counts, PublishPath.DIRECT, before[key], after[key])
    for item in merged:
        key = item.window.key
        counts = stored.get(load_ids[key], Ledger())
        results[key] = checked_publish(item, counts, PublishPath.MERGE, before[key], after[key])
    # Rows that are the same again were judged when they came, but what they lack may be known now.
    doubtful = {k: before[k] for k in results if k not in after and known[k].state == _PARTIAL}
    if context.contract.window_checks:
        before_checks()
    whole = {item.window.key: item.rows for item in direct}
    findings = find_incomplete(conn, context, {**after, **doubtful}, whole)
    return {key: replace(item, finding=findings.get(key)) for key, item in results.items()}


def _is_same_content(
    item: PreparedWindow, known: KnownWindow | None, context: LoadContext, rows_before: int
) -> bool:
    return (
        known is not None
        and known.content_hash == item.content_hash
        and known.is_as_published(context.contract.fingerprint, rows_before)
    )


def _unchanged(item: PreparedWindow, rows_before: int) -> Published:
    counts = Ledger(unchanged=item.rows.num_rows)
    return Published(
        ledger=_complete(item, counts),
        path=PublishPath.NONE,
        recognised_by=RecognisedBy.CONTENT_HASH,
        rows_before=rows_before,
        rows_after=rows_before,
    )


def _complete(item: PreparedWindow, counts: Ledger) -> Ledger:
    """Add what the reader and the validation counted to the server's counts."""
    kept_out = Ledger(
        read=item.read,
        duplicate=item.duplicate,
        rejected=len(item.rejected),
        skipped=item.skipped,
    )
    ledger = counts + kept_out
    ledger.check(item.window.key)
    return ledger


def checked_publish(
    item: PreparedWindow, counts: Ledger, path: PublishPath, before: int, after: int
) -> Published:
    """What publishing did, once the server's counts agree; see check_target."""
    check_target(item.window, counts, before, after)
    return Published(
        ledger=_complete(item, counts),
        path=path,
        recognised_by=RecognisedBy.DIFFERENCE if counts.unchanged else None,
        rows_before=before,
        rows_after=after,
    )


def check_target(window: Window, counts: Ledger, before: int, after: int) -> None:
    """The target has exactly the rows that the counts say.

    Raises:
        LedgerImbalance: Somebody else wrote to the window, or the counts are wrong.
    """
    if after != before + counts.inserted - counts.deleted:
        raise LedgerImbalance(
            f"{window.key}: the target had {before} rows and has {after}, expected "
            f"{before} + {counts.inserted} inserted - {counts.deleted} deleted; the transaction "
            "is rolled back; find out who else writes to this table, then run again"
        )


def with_load_id(item: PreparedWindow, load_ids: Mapping[str, int]) -> pa.RecordBatch:
    """Rows with the column that says which load wrote them."""
    load_id = pa.scalar(load_ids[item.window.key], pa.int64())
    return item.rows.append_column("load_id", pa.repeat(load_id, item.rows.num_rows))


def _merge(
    conn: psycopg.Connection,
    target: Target,
    windows: Sequence[PreparedWindow],
    load_ids: Mapping[str, int],
) -> dict[int, Ledger]:
    create_temporary_staging(conn, target)
    batches = (with_load_id(item, load_ids) for item in windows)
    copy_batches(conn, TEMPORARY_STAGING, target.copy_schema, batches)
    reach("merge.after_staging")
    ids = [load_ids[item.window.key] for item in windows]
    return merge_staged(conn, target, TEMPORARY_STAGING, [w.window for w in windows], ids)


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


def merge_staged(
    conn: psycopg.Connection,
    target: Target,
    staging: sql.Composable,
    windows: Sequence[Window],
    load_ids: Sequence[int],
) -> dict[int, Ledger]:
    """Bring the target to what is staged, writing only new and changed rows.

    Args:
        staging: Table with the COPY columns; keys are unique in it, `load_id` names the window.
        windows: The windows staged; `load_ids` in the same order.

    Returns:
        Inserted, updated, unchanged and deleted rows by load_id, as the server counted them.
    """
    if not target.contract.shares_target:
        forbid_nested_loops(conn)
    statements = MergeSql.of(target, staging)
    bounds = window_bounds(windows)

    def counted(name: str, parameters: Mapping[str, object] = bounds) -> dict[int, int]:
        return dict(conn.execute(statements.read(name), parameters).fetchall())

    unchanged = counted("count_unchanged")
    deleted: dict[int, int] = {}
    updated: dict[int, int] = {}
    if target.contract.disposition is Disposition.REPLACE:
        arrays = {**window_arrays(windows), "load_ids": list(load_ids), **bounds}
        kept = statements.keep(conn, "keep_absent", arrays)
        deleted = counted("delete_absent", arrays)
        check_kept(target.contract, kept, sum(deleted.values()))
    if target.contract.disposition is not Disposition.APPEND and statements.has_values:
        kept = statements.keep(conn, "keep_changed", bounds)
        updated = counted("update_changed")
        check_kept(target.contract, kept, sum(updated.values()))
    reach("merge.before_insert")
    inserted = counted("insert_new")
    return {
        load_id: Ledger(
            inserted=inserted.get(load_id, 0),
            updated=updated.get(load_id, 0),
            unchanged=unchanged.get(load_id, 0),
            deleted=deleted.get(load_id, 0),
        )
        for load_id in load_ids
    }


@dataclass(frozen=True, slots=True)
class MergeSql:
    """The merge statements of one contract and staging table."""

    target: Target
    parts: Mapping[str, sql.Composable]
    has_values: bool

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
            "is_same": is_same,
            "assignments": sql.SQL(", ").join(assignments),
            "columns": column_list(written),
            "staged_columns": prefixed("s", written),
            "staged_key": prefixed("s", contract.key),
        }
        return cls(target, parts, bool(compared))

    def read(self, name: str) -> sql.Composed:
        """A named query with the parts of this merge filled in."""
        return self.target.parts.read(name, **self.parts)

    def keep(self, conn: psycopg.Connection, name: str, parameters: Mapping[str, object]) -> int:
        """Copy versions to the history, if the contract has one; returns how many."""
        history = self.target.contract.history_table
        if history is None:
            return 0
        names = self.target.stored_columns
        statement = self.target.parts.read(
            name,
            **self.parts,
            history=table_identifier(history),
            kept_columns=column_list(names),
            stored_columns=prefixed("t", names),
        )
        return conn.execute(statement, parameters).rowcount


def prefixed(alias: str, names: Sequence[str]) -> sql.Composed:
    """Column names of one table alias, joined with commas."""
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)
