"""Bring windows that have rows to what was prepared, sending only what the target may not have.

Rows that are known to be there stay here (known_rows.py); the others are staged, matched and merged
(merge.py). Nothing here commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import psycopg
import pyarrow as pa

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Window
from batch_assets.execution.failpoints import reach
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.hash_changes import KnownHashes
from batch_assets.loading.known_rows import (
    Compared,
    Versions,
    count,
    read_versions,
    recall,
    remember,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import (
    TEMPORARY_STAGING,
    Merge,
    MergeSql,
    Target,
    create_temporary_staging,
    with_load_id,
)
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.windows import count_windows

# One row in this many, or fewer, is looked up by its key; of more, all rows are joined.
_LOOK_UP_SHARE = 10


@dataclass(frozen=True, slots=True)
class _Window:
    """One window, compared with what is known of it.

    Attributes:
        sends_all: Rows that are known are sent nevertheless.
    """

    compared: Compared
    load_id: int
    sends_all: bool

    @property
    def key(self) -> str:
        return self.compared.item.window.key

    @property
    def known(self) -> int:
        is_known = self.compared.is_known
        return 0 if is_known is None or self.sends_all else int(np.count_nonzero(is_known))

    @property
    def unknown(self) -> int:
        return int(self.compared.item.rows.num_rows) - self.known

    def unknown_rows(self) -> pa.RecordBatch:
        """What has to be sent."""
        rows, is_known = self.compared.item.rows, self.compared.is_known
        if is_known is None or self.sends_all:
            return self._with_load_id(rows)
        return self._with_load_id(rows.filter(pa.array(~is_known)))

    def known_rows(self) -> pa.RecordBatch:
        """What need not be sent."""
        rows = self.compared.item.rows
        return self._with_load_id(rows.filter(pa.array(self.compared.is_known)))

    def _with_load_id(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return with_load_id(rows, self.load_id)


@dataclass(slots=True)
class Difference:
    """Windows of one transaction.

    Attributes:
        load_ids: ops.loads row by window key.
        rows_before: Rows of the target, by window key.
        versions_before: Who wrote them; None if the target does not tell.
    """

    conn: psycopg.Connection
    context: LoadContext
    target: Target
    items: Sequence[PreparedWindow]
    load_ids: Mapping[str, int]
    rows_before: Mapping[str, int]
    versions_before: Mapping[str, Versions] | None

    def publish(self, *, force: bool) -> tuple[dict[int, Ledger], dict[str, int]]:
        """Write new and changed rows; where the contract replaces, delete absent ones.

        Args:
            force: Send and compare every row.

        Returns:
            Counts by load_id, and rows of the target afterwards by window key.
        """
        before = self.versions_before
        windows = self._compare_hashes(force=force)
        stored = self._merge(windows)
        if before is None:
            return stored, count_windows(self.conn, self.target.parts, self._windows())
        after = read_versions(self.conn, self.target, self._windows())
        self._remember(windows, before, after)
        return stored, count(after)

    def _windows(self) -> list[Window]:
        return [item.window for item in self.items]

    def _compare_hashes(self, *, force: bool) -> list[_Window]:
        known: dict[str, KnownHashes] = {}
        if self.versions_before is not None:
            known = recall(self.conn, self.context, self._windows(), self.versions_before)
        return [
            _Window(
                Compared.of(self.target.contract, item, known.get(item.window.key)),
                self.load_ids[item.window.key],
                sends_all=force,
            )
            for item in self.items
        ]

    def _merge(self, windows: Sequence[_Window]) -> dict[int, Ledger]:
        create_temporary_staging(self.conn, self.target)
        self._stage([window.unknown_rows() for window in windows])
        reach("merge.after_staging")
        merge = Merge(
            self.conn,
            self.target,
            MergeSql.of(self.target, TEMPORARY_STAGING),
            self._windows(),
            [window.load_id for window in windows],
            looks_up=self._are_few(windows),
        )
        matched = merge.match()
        known = {window.load_id: window.known for window in windows}
        if self.target.contract.disposition is Disposition.REPLACE:
            lacking = [
                window
                for window in windows
                if window.known
                and window.known + matched[window.load_id].known != self._before(window)
            ]
            if lacking:
                # Which rows are absent only all keys of the window can tell.
                self._stage([window.known_rows() for window in lacking])
                known |= {window.load_id: 0 for window in lacking}
                merge = replace(merge, looks_up=False)
                matched = merge.match()
        rows_before = {
            window.load_id: self._before(window) - known[window.load_id] for window in windows
        }
        stored = merge.write(matched, rows_before)
        return {
            load_id: counts + Ledger(unchanged=known[load_id]) for load_id, counts in stored.items()
        }

    def _before(self, window: _Window) -> int:
        return self.rows_before[window.key]

    def _are_few(self, windows: Sequence[_Window]) -> bool:
        sent = sum(window.unknown for window in windows)
        return sent * _LOOK_UP_SHARE <= sum(map(self._before, windows))

    def _stage(self, batches: Sequence[pa.RecordBatch]) -> None:
        copy_batches(self.conn, TEMPORARY_STAGING, self.target.copy_schema, batches)

    def _remember(
        self,
        windows: Sequence[_Window],
        before: Mapping[str, Versions],
        after: Mapping[str, Versions],
    ) -> None:
        """Keep hashes of windows to which nobody else has written meanwhile."""
        ours = self.conn.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
        assert ours is not None  # noqa: S101 - a statement without a table has one row
        remember(
            self.conn,
            self.context,
            self.target,
            (
                (window.compared, after[window.key])
                for window in windows
                if after[window.key].keys() <= before[window.key].keys() | {ours[0]}
            ),
        )
