"""Transfers that go on where they ended: rows that are new by a rising column, and queues.

Each chunk is one transaction on the target: rows, ledger, dead letters and the position. A queue
in the target's own database is marked in that transaction too. One in another database is marked
after it; a crash between the two repeats a chunk whose rows are unchanged then, because the key
says so.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import psutil
import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position
from batch_assets.errors import BatchAssetsError, DataError
from batch_assets.execution.failpoints import reach
from batch_assets.ingest.tables.part import PartWriter, open_writer
from batch_assets.loading.chunk_size import ChunkSize
from batch_assets.loading.failures import as_refusal
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import read_last_chunk_rows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import count_reasons
from batch_assets.loading.report import LoadReport, LoadState, quote
from batch_assets.loading.streams import Part, Stream
from batch_assets.sources.tables.decode import prepare_session
from batch_assets.sources.tables.horizon import Horizon, below, find_horizon, start_of_run
from batch_assets.sources.tables.open import open_snapshot, reading
from batch_assets.sources.tables.queue_table import QueueTable
from batch_assets.sources.tables.transfer import Transfer, TransferMode

# Where no earlier chunk says better.
_FIRST_CHUNK_ROWS = 10_000

_REASONS = {LoadState.SKIPPED: "nothing_new", LoadState.NOT_READY: "rows_wait"}


def continue_transfer(
    connect: Connector, transfer: Transfer, source: Connector, options: LoadOptions
) -> LoadReport:
    """Load what is new, or what a queue holds, chunk by chunk; modes `incremental` and `queue`.

    Returns:
        One report over all chunks; `skipped` if there was nothing to read, `not_ready` if all that
        is there has to wait for others. Chunks that were committed before a failure stay, and the
        next run goes on after them.

    Raises:
        LeaseHeld: Another run of the transfer is under way.
        SchemaMismatch: The two sides do not fit; nothing was read.
        DatabaseUnavailable: The target failed.
        SourceUnavailable: The source failed.
    """
    with open_writer(connect, transfer, source, options) as writer:
        rows = writer.stream.read(lambda conn: read_last_chunk_rows(conn, writer.stream.context))
        run = _Run(writer, source, options.bounds.begin(rows or _FIRST_CHUNK_ROWS))
        started = time.perf_counter()
        report = run.to_the_end()
        return replace(report, seconds={"chunks": time.perf_counter() - started})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that are there and are left to the next run, and why."""

    rows: int
    text: str


def _waiting(transfer: Transfer, horizon: Horizon | None) -> Waiting | None:
    if horizon is None:
        return None
    rows = horizon.waiting_rows
    return Waiting(
        rows,
        f"{rows} rows, from {transfer.incremental_column} = {horizon.value} on, wait for "
        f"{horizon.waits_for}: it may hold a lower value; the next run reads them",
    )


@dataclass(slots=True)
class _Run:
    writer: PartWriter
    source: Connector
    size: ChunkSize
    waiting: Waiting | None = None
    _chunk_no: int = 0

    @property
    def transfer(self) -> Transfer:
        return self.writer.plan.transfer

    @property
    def stream(self) -> Stream:
        return self.writer.stream

    def to_the_end(self) -> LoadReport:
        try:
            if self.transfer.mode is TransferMode.INCREMENTAL:
                self._read_new()
            else:
                self._empty_queue()
        except (psycopg.DataError, psycopg.IntegrityError, DataError) as cause:
            refusal = as_refusal(self.stream.resource, cause, self.writer.plan.contract)
            return self._close(LoadState.FAILED, refusal)
        if self.stream.ledger.read:
            return self._close(LoadState.SUCCESS)
        return self._close(LoadState.NOT_READY if self.waiting else LoadState.SKIPPED)

    def _close(self, state: LoadState, error: BatchAssetsError | None = None) -> LoadReport:
        reason = type(error).__name__ if error else _REASONS.get(state, "")
        waiting = self.waiting
        report = self.stream.close(
            state,
            reason=reason,
            message=waiting.text if waiting else "",
            error=error,
            metrics={
                **self.size.metrics(),
                "chunks": self._chunk_no,
                **({"waiting_rows": waiting.rows, "waiting": waiting.text} if waiting else {}),
            },
            keep_position=True,
        )
        return replace(
            report,
            source_file=self.transfer.origin,
            reject_reasons=count_reasons(self.writer.rejected),
            quoted_rejects=quote(self.writer.rejected, self.writer.plan.contract),
        )

    def _read_new(self) -> None:
        """Rows from the last position up to the horizon, all of one snapshot."""
        transfer, statement = self.transfer, self.writer.plan.statement
        walked = (transfer.incremental_column, *transfer.source_keys)
        names = tuple(dict.fromkeys(walked))
        with open_snapshot(self.source, transfer) as conn:
            with reading(transfer):
                ordered = statement.read_ordered(conn, names)
                position = self.stream.resumed_from
                conditions = start_of_run(transfer, ordered, position)
                horizon = find_horizon(conn, transfer, ordered, conditions, position)
            upper = [below(ordered, horizon.value)] if horizon else []
            self.waiting = _waiting(transfer, horizon)
            while True:
                begun = [*conditions, *upper]
                with reading(transfer):
                    end = statement.find_range_end(conn, ordered, begun, self.size.current_rows)
                if end is None:
                    return
                self._publish(conn, [*begun, ordered.compared("<=", end)], end)
                conditions = [ordered.compared(">", end)]

    def _empty_queue(self) -> None:
        if self.transfer.is_same_database:
            self._empty_own_queue()
            return
        queue = QueueTable(self.transfer)
        with reading(self.transfer):
            opened = self.source()
        with closing(opened) as conn:
            prepare_session(conn)
            conn.commit()
            while True:
                with reading(self.transfer):
                    claimed = queue.claim(conn, self.size.current_rows)
                if not claimed:
                    self.waiting = self._left_in(queue, conn)
                    return
                self._publish(conn, [queue.is_claimed], {})
                reach("queue.before_mark")
                with reading(self.transfer):
                    queue.mark(conn)
                    conn.commit()

    def _empty_own_queue(self) -> None:
        """Claim, load and mark in one transaction of the stream's own connection."""
        queue = QueueTable(self.transfer)
        while True:
            read_before = self.stream.ledger.read

            def write(conn: psycopg.Connection) -> Part:
                prepare_session(conn)
                with reading(self.transfer):
                    claimed = queue.claim(conn, self.size.current_rows)
                if not claimed:
                    self.waiting = self._left_in(queue, conn)
                    return Part(Ledger())
                part = self.writer.write(conn, conn, [queue.is_claimed], {}, hold=True)
                with reading(self.transfer):
                    queue.mark(conn)
                return part

            self._timed(write)
            if self.stream.ledger.read == read_before:
                return

    def _left_in(self, queue: QueueTable, conn: psycopg.Connection) -> Waiting | None:
        with reading(self.transfer):
            rows = queue.count_left(conn)
        if not rows:
            return None
        return Waiting(
            rows, f"{rows} rows of the queue are held by others, or came just now: the next run's"
        )

    def _publish(
        self, source: psycopg.Connection, conditions: Sequence[sql.Composable], position: Position
    ) -> None:
        def write(conn: psycopg.Connection) -> Part:
            return self.writer.write(conn, source, conditions, position, hold=False)

        self._timed(write)

    def _timed(self, write: Callable[[psycopg.Connection], Part]) -> None:
        """Publish one chunk, and learn from it how large the next one may be."""
        started = time.perf_counter()
        part = self.stream.publish(write)
        if part.ledger.read:
            self._chunk_no += 1
            self.writer.rejected.extend(part.rejected)
            resident = psutil.Process().memory_info().rss
            self.size.observe(time.perf_counter() - started, resident)
