"""What is known of each window since its last publish, and whether its input is the same again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import sql

from batch_assets.contracts.table import Window
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import LoadContext
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class KnownWindow:
    """A window as its last publish left it.

    Attributes:
        row_count: Rows the window had in the target then.
        is_current: False if something wrote to the window since its hashes were taken.
        state: Outcome of the load that published it.
        stored: Rows of the source that were in the target after that load.
    """

    row_count: int
    source_hash: str | None
    content_hash: str | None
    contract_version: str
    is_current: bool
    state: str
    reason: str
    stored: int
    duplicate: int
    rejected: int
    skipped: int

    def is_as_published(
        self, contract_version: str, target_rows: int, *, shares_target: bool = False
    ) -> bool:
        """Whether contract, version and row count are what they were at the last publish.

        Args:
            target_rows: Rows the window has in the target now; a difference means that somebody
                else changed it.
            shares_target: Other windows bring rows to the same table: it has no fewer than then.
        """
        has_rows = target_rows >= self.row_count if shares_target else target_rows == self.row_count
        return self.is_current and self.contract_version == contract_version and has_rows

    def repeated_ledger(self) -> Ledger:
        """The ledger of reading the same source again: what was stored is unchanged now."""
        return Ledger(
            read=self.stored + self.duplicate + self.rejected + self.skipped,
            unchanged=self.stored,
            duplicate=self.duplicate,
            rejected=self.rejected,
            skipped=self.skipped,
        )


@dataclass(frozen=True, slots=True)
class WindowSql:
    """The parts of statements that say which rows of a target belong to a window.

    Attributes:
        target: The quoted table.
        scope_match: `t.source = 'examples'`, or TRUE.
        window_match: Rows of `t` inside [w.starts, w.ends), or TRUE where there is one window.
        bounds_match: Rows of `t` inside all windows together, [%(lowest)s, %(highest)s). Without
            it the planner would open every partition of the target.
        window_type: SQL type of the window column.
    """

    target: sql.Composable
    scope_match: sql.Composable
    window_match: sql.Composable
    bounds_match: sql.Composable
    window_type: sql.Composable
    _written: dict[str, bytes] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, context: LoadContext, window_type: LiteralString) -> "WindowSql":
        """Build the parts for a contract; `window_type` is the catalogue's name of the type."""
        contract = context.contract
        scope = [
            sql.SQL("t.{} = {}").format(sql.Identifier(column), sql.Literal(value))
            for column, value in context.scope.values
        ]
        window: sql.Composable = sql.SQL("TRUE")
        bounds: sql.Composable = sql.SQL("TRUE")
        if contract.window_column is not None:
            column = sql.Identifier(contract.window_column)
            window = sql.SQL("t.{0} >= w.starts AND t.{0} < w.ends").format(column)
            bounds = sql.SQL("t.{0} >= %(lowest)s AND t.{0} < %(highest)s").format(column)
        return cls(
            target=table_identifier(contract.target),
            scope_match=sql.SQL(" AND ").join(scope) if scope else sql.SQL("TRUE"),
            window_match=window,
            bounds_match=bounds,
            # The name comes from format_type() of the catalogue, not from a user.
            window_type=sql.SQL(window_type),
        )

    def write(
        self,
        name: str,
        conn: psycopg.Connection,
        compose: Callable[[], sql.Composed] | None = None,
        variant: str = "",
    ) -> bytes:
        """The text of a named query; composed once.

        Composing and scanning a statement takes longer than most of them take the server.

        Args:
            name: Of the query.
            conn: Knows the encoding.
            compose: Fills further parts in, always the same ones for a name and variant.
            variant: Tells texts of one query apart.
        """
        key = f"{name} {variant}"
        if key not in self._written:
            composed = compose() if compose else self.read(name)
            self._written[key] = composed.as_bytes(conn)
        return self._written[key]

    def read(self, name: str, **parts: sql.Composable) -> sql.Composed:
        """A named query with these parts, and further ones, filled in."""
        return read_query(name).format(
            target=self.target,
            scope_match=self.scope_match,
            window_match=self.window_match,
            bounds_match=self.bounds_match,
            window_type=self.window_type,
            **parts,
        )


def window_arrays(windows: Sequence[Window]) -> dict[str, list[object]]:
    """Windows as the three array parameters that the statements unnest."""
    return {
        "window_keys": [window.key for window in windows],
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
    }


def window_bounds(windows: Sequence[Window]) -> dict[str, object]:
    """The range that holds all windows, as the parameters of `bounds_match`."""
    return {
        "lowest": min((w.start for w in windows if w.start is not None), default=None),
        "highest": max((w.end for w in windows if w.end is not None), default=None),
    }


def read_windows(
    conn: psycopg.Connection, context: LoadContext, windows: Sequence[Window]
) -> dict[str, KnownWindow]:
    """What is known of windows that were published before, by window key."""
    rows = conn.execute(
        read_query("read_windows"),
        {**context.common(), "window_keys": [window.key for window in windows]},
    ).fetchall()
    return {
        key: KnownWindow(
            row_count=row_count,
            source_hash=source_hash,
            content_hash=content_hash,
            contract_version=contract_version,
            is_current=is_current,
            state=state,
            reason=reason or "",
            stored=stored,
            duplicate=duplicate,
            rejected=rejected,
            skipped=skipped,
        )
        for (
            key,
            row_count,
            source_hash,
            content_hash,
            contract_version,
            is_current,
            state,
            reason,
            stored,
            duplicate,
            rejected,
            skipped,
        ) in rows
    }


def count_windows(
    conn: psycopg.Connection, parts: WindowSql, windows: Sequence[Window]
) -> dict[str, int]:
    """Rows of each window in the target, by window key."""
    parameters = {**window_arrays(windows), **window_bounds(windows)}
    return dict(conn.execute(parts.write("count_windows", conn), parameters).fetchall())
