"""Replay: corrected rows into the window that rejected them.

Rows, ledger, window memory and the state of the dead letters are one transaction under the
window's lease. What the corrections mean is decided by the caller, who judges them within it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import BatchAssetsError, LeaseHeld, LeaseLost, LedgerImbalance, StaleAnswer
from batch_assets.execution.failpoints import reach
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.duplicates import sort_by_key
from batch_assets.loading.failures import as_refusal
from batch_assets.loading.leases import Connector, Heartbeat, drop_leases, release_leases
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.load import read_target
from batch_assets.loading.loads import Closing, LoadContext, close_running_load
from batch_assets.loading.merge import MergeSql, Target
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import PreparedWindow, WindowSource
from batch_assets.loading.publish import Published, publish_windows
from batch_assets.loading.publisher import Publisher
from batch_assets.loading.replay_answers import (
    LETTER,
    LOAD,
    AnsweredLetters,
    ReplayAnswers,
    conflict_of,
    join_answered,
    without_letters,
)
from batch_assets.loading.report import LoadState, PublishPath
from batch_assets.loading.shared_target import publish_shared
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.names import column_list
from batch_assets.postgres.sql_files import read_query

_LEASE_POLL_SECONDS = 0.2
_STAGING = sql.Identifier("pg_temp", "batch_assets_replayed")
# Rows named in a message; the others are counted.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """One window to replay into.

    Attributes:
        source_columns: Columns that name the file a row came from; none where the table has none.
        place_columns: Columns that name its place in the file.
        answered_from: Name of the workbook.
        who: Whose answers they are.
    """

    contract: TableContract
    scope: Scope
    window: Window
    source_columns: tuple[str, ...]
    place_columns: tuple[str, ...]
    answered_from: str
    who: str


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of the answers.

    Attributes:
        load_id: The replay, or the load before it where nothing was loaded or dropped.
        ledger: Of the whole window afterwards.
        fixed: Rows that are loaded now.
        dropped: Rows that were discarded.
        refused: Rows that are still wrong.
    """

    load_id: int
    target: str
    window: Window
    ledger: Ledger
    fixed: int = 0
    dropped: int = 0
    refused: int = 0


Judge = Callable[[psycopg.Connection, int], Iterator[AnsweredLetters]]
"""Reads and locks dead letters in the caller's transaction, and judges them; given the load whose
ledger counts them."""


def replay_window(
    connect: Connector, request: ReplayRequest, judge: Judge, options: LoadOptions
) -> ReplayReport:
    """Merge corrected rows into their window.

    Raises:
        StaleAnswer: A row has moved on, or its dead letter is answered; nothing was changed.
        LeaseHeld: Somebody else is writing the window.
        RowsRefused: The table refuses a row; nothing was changed.
    """
    contract = request.contract
    if contract.disposition is Disposition.REPLACE:
        # The window is more than what was corrected.
        contract = replace(contract, disposition=Disposition.MERGE)
    context = LoadContext(contract, request.scope, options.run_id)
    with translating_errors(), connect() as conn:
        target = read_target(conn, context)
        conn.commit()
        with Heartbeat(connect, options.lease_seconds) as heartbeat:
            publisher = Publisher(conn, context, target, options, heartbeat, threading.Event())
            source = WindowSource(request.window, request.answered_from, None, lambda _: iter(()))
            tokens, load_id = _take(publisher, source)
            with publisher.holding(tokens, {request.window.key: load_id}):
                return _Replay(conn, context, target, request, tokens, load_id, source).run(judge)


def _take(publisher: Publisher, source: WindowSource) -> tuple[dict[str, int], int]:
    deadline = time.monotonic() + publisher.options.lease_wait_seconds
    while True:
        tokens, load_ids = publisher.open_windows([source])
        if tokens:
            return tokens, load_ids[source.window.key]
        if time.monotonic() >= deadline:
            raise LeaseHeld(
                f"{publisher.context.resource(source.window)} is being written by somebody else; "
                f"waited {publisher.options.lease_wait_seconds:.0f} s for it; nothing was "
                "changed; replay the workbook again when that load has ended"
            )
        publisher.stop.wait(_LEASE_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Former:
    """The window before the replay."""

    load_id: int
    row_count: int
    read: int
    stored: int
    duplicate: int
    rejected: int
    skipped: int
    source_file: str
    source_hash: str | None
    state: str
    reason: str


@dataclass(slots=True)
class _Replay:
    conn: psycopg.Connection
    context: LoadContext
    target: Target
    request: ReplayRequest
    tokens: dict[str, int]
    load_id: int
    source: WindowSource

    def run(self, judge: Judge) -> ReplayReport:
        try:
            report = self._publish(judge)
        except (psycopg.DataError, psycopg.IntegrityError, BatchAssetsError) as error:
            self.conn.rollback()
            self._close(LoadState.FAILED, Ledger(), error=error)
            drop_leases(self.conn, self.tokens)
            self.conn.commit()
            if isinstance(error, BatchAssetsError):
                raise
            refusal = as_refusal(
                self.context.resource(self.request.window), error, self.context.contract
            )
            raise refusal from refusal.__cause__
        release_leases(self.conn, self.tokens)
        reach("replay.before_commit")
        self.conn.commit()
        reach("replay.after_commit")
        return report

    def _publish(self, judge: Judge) -> ReplayReport:
        former = self._former()
        pieces = list(judge(self.conn, former.load_id))
        refused = {key: value for piece in pieces for key, value in piece.refused.items()}
        dropped = {key: value for piece in pieces for key, value in piece.dropped.items()}
        rows = join_answered(self.request.contract, pieces)
        keyed = sort_by_key(rows, self.context.contract)
        ids = rows.column(LETTER.name)
        conflicts = [ids[index].as_py() for index in keyed.conflicting]
        conflicts += self._stage(without_letters(rows, conflicts))
        refused |= {number: (conflict_of(self.context.contract),) for number in conflicts}
        good = without_letters(keyed.rows, conflicts)
        fixed = rows.num_rows - len(conflicts)
        published = self._merge(good, fixed - good.num_rows)
        answers = ReplayAnswers(
            refused, dropped, _fixed_ids(pieces, refused), pieces, self.context.contract
        )
        self._write(answers)
        reach("replay.after_answers")
        ledger = _ledger_of(former, published.ledger, fixed, len(dropped))
        ledger.check(self.context.resource(self.request.window))
        if ledger.rejected < 0:
            raise LedgerImbalance(
                f"load {former.load_id} rejected {former.rejected} rows, but "
                f"{former.rejected - ledger.rejected} of them are answered now; nothing was "
                "changed; report this with the workbook"
            )
        counts = {"fixed": fixed, "dropped": len(dropped), "still_wrong": len(refused)}
        if not fixed and not dropped:
            self._close(LoadState.SKIPPED, Ledger(), reason="nothing_corrected", metrics=counts)
            return ReplayReport(
                former.load_id,
                self.context.contract.target,
                self.request.window,
                ledger,
                refused=len(refused),
            )
        metrics = {"replay": {**counts, "of_load": former.load_id, "who": self.request.who}}
        state, reason = self._state_after(former, published)
        self._close(state, ledger, reason=reason, published=published, metrics=metrics)
        self._remember(former, published)
        return ReplayReport(
            self.load_id,
            self.context.contract.target,
            self.request.window,
            ledger,
            fixed,
            len(dropped),
            len(refused),
        )

    def _state_after(self, former: _Former, published: Published) -> tuple[LoadState, str]:
        """A window that lacks rows still lacks them, unless the corrected ones were those."""
        if published.path is PublishPath.NONE and former.state == LoadState.PARTIAL:
            return LoadState.PARTIAL, former.reason
        return published.state, published.reason

    def _former(self) -> _Former:
        row = self.conn.execute(read_query("read_window_ledger"), self._window()).fetchone()
        if row is None:
            raise StaleAnswer(
                f"{self.context.resource(self.request.window)}: nothing of it is loaded, so rows "
                "cannot be added one by one; correct the file itself and load it again"
            )
        return _Former(*row)

    def _window(self) -> dict[str, object]:
        return {**self.context.common(), "window_key": self.request.window.key}

    def _stage(self, rows: pa.RecordBatch) -> list[int]:
        """Look at what the table has under the same keys.

        Returns:
            Dead letters whose key another row of the same file has.

        Raises:
            StaleAnswer: A newer load has written rows with these keys.
        """
        if not rows.num_rows:
            return []
        names = [*self.context.contract.columns.names, LOAD.name]
        self.conn.execute(
            sql.SQL(
                "CREATE TEMP TABLE batch_assets_replayed ON COMMIT DROP AS "
                "SELECT {}, 0::bigint AS letter_id FROM {} WITH NO DATA"
            ).format(column_list(names), self.target.parts.target)
        )
        schema = self.context.contract.columns.append(LOAD).append(LETTER)
        copy_batches(self.conn, _STAGING, schema, [rows.select(schema.names)])
        found = self.conn.execute(self._conflicts()).fetchall()
        moved = [number for number, has_moved_on in found if has_moved_on]
        if moved:
            named = ", ".join(str(number) for number in moved[:_NAMED])
            raise StaleAnswer(
                f"{self.request.answered_from}: {len(moved)} of the rows have moved on (_id "
                f"{named}): newer loads have written rows with the same keys, which the "
                "corrections would overwrite; nothing was changed; compare them, and write drop "
                "into _action where the newer row is right, or send the right one in a new file"
            )
        return [number for number, _ in found]

    def _conflicts(self) -> sql.Composed:
        parts = MergeSql.of(self.target, _STAGING).parts
        if not self.request.source_columns:
            return self.target.parts.read("find_replay_conflicts_by_load", **parts)
        return self.target.parts.read(
            "find_replay_conflicts",
            **parts,
            is_same_file=_equal(self.request.source_columns),
            is_same_place=_equal(self.request.place_columns),
        )

    def _merge(self, rows: pa.RecordBatch, duplicate: int) -> Published:
        if not rows.num_rows:
            return Published(Ledger(duplicate=duplicate), PublishPath.NONE, None, 0, 0)
        window = self.request.window
        item = PreparedWindow(
            source=self.source,
            rows=rows.select(self.context.contract.columns.names),
            content_hash="",
            read=rows.num_rows + duplicate,
            duplicate=duplicate,
            skipped=0,
            rejected=(),
            broken_counts={},
            seconds={},
        )
        load_ids = {window.key: self.load_id}
        if self.context.contract.shares_target:
            return publish_shared(self.conn, self.target, [item], load_ids)[window.key]
        return publish_windows(self.conn, self.context, self.target, [item], load_ids, force=True)[
            window.key
        ]

    def _write(self, answers: ReplayAnswers) -> None:
        for values in answers.arrays():
            self.conn.execute(
                read_query("answer_dead_letters"),
                {
                    **values,
                    "who": self.request.who,
                    "answered_from": self.request.answered_from,
                    "load_id": self.load_id,
                },
            )

    def _close(
        self,
        state: LoadState,
        ledger: Ledger,
        *,
        reason: str = "",
        published: Published | None = None,
        error: Exception | None = None,
        metrics: Mapping[str, object] | None = None,
    ) -> None:
        closing = Closing(
            load_id=self.load_id,
            state=state,
            reason=reason or (type(error).__name__ if error else "replay"),
            ledger=ledger,
            publish_path=published.path if published else PublishPath.NONE,
            rows_before=published.rows_before if published else None,
            rows_after=published.rows_after if published else None,
            error=as_refusal(
                self.context.resource(self.request.window), error, self.context.contract
            )
            if error
            else None,
            metrics=metrics or {},
        )
        if not close_running_load(self.conn, closing) and error is None:
            raise LeaseLost(
                f"load {self.load_id} is no longer running: another process took its window over; "
                "nothing was changed; replay the workbook again"
            )

    def _remember(self, former: _Former, published: Published) -> None:
        self.conn.execute(
            read_query("close_replay"),
            {
                **self._window(),
                "load_id": self.load_id,
                "former_load_id": former.load_id,
                "added_rows": published.ledger.inserted,
            },
        )
        self.conn.execute(
            "UPDATE ops.loads SET source_hash = %s WHERE load_id = %s",
            (former.source_hash, self.load_id),
        )


def _fixed_ids(pieces: Sequence[AnsweredLetters], refused: Mapping[int, object]) -> list[int]:
    return [n for piece in pieces for n in piece.letter_ids if n not in refused]


def _equal(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("t.{0} IS NOT DISTINCT FROM s.{0}").format(sql.Identifier(name)) for name in columns
    )


def _ledger_of(former: _Former, counts: Ledger, fixed: int, dropped: int) -> Ledger:
    """The ledger of the whole window: what was stored is there, what was rejected is not."""
    return Ledger(
        read=former.read,
        inserted=counts.inserted,
        updated=counts.updated,
        unchanged=former.stored + counts.unchanged,
        duplicate=former.duplicate + counts.duplicate,
        rejected=former.rejected - fixed - dropped,
        skipped=former.skipped + dropped,
    )
