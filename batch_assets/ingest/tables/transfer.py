"""Table-to-table transfers: from a SELECT on one server to rows in a table of another.

transfer -> plan (types of both sides) -> windows -> streams -> load_windows -> one report each

Transfers that read what is new, and queues, are in tables_stream.py.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position, SourceBatch
from batch_assets.contracts.table import Scope, Window
from batch_assets.ingest.tables.target import TransferPlan, plan_transfer
from batch_assets.loading.bulk import BulkChunk, BulkFeed, BulkStream, Constants
from batch_assets.loading.chunk_size import ChunkBounds
from batch_assets.loading.encode import encode_batches
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets.postgres.result_columns import estimate_rows
from batch_assets.settings import LoadingSettings
from batch_assets.sources.tables.copy_out import CopyOut
from batch_assets.sources.tables.functions import BatchFunction, find_function
from batch_assets.sources.tables.open import open_snapshot, reading
from batch_assets.sources.tables.queue_table import HeldCopy
from batch_assets.sources.tables.streams import FunctionStream, RawStream, as_literals
from batch_assets.sources.tables.transfer import Transfer

WHOLE = Window("all")

SCOPE = Scope()


def options_of(
    transfer: Transfer, loading: LoadingSettings, *, run_id: str | None = None, force: bool = False
) -> LoadOptions:
    """How a transfer is loaded: the configuration's bounds, and its own."""
    rows, ratio = transfer.reject_limit_rows, transfer.reject_limit_ratio
    return LoadOptions(
        # One window is one stream, and two streams at once only share one disk.
        publish_connections=1,
        chunk_rows=transfer.max_batch_rows,
        chunk_bounds=ChunkBounds(
            lowest_rows=transfer.min_batch_rows,
            highest_rows=transfer.max_batch_rows,
            aim_seconds=transfer.aim_seconds,
            memory_limit_bytes=transfer.memory_limit_mb * 1024 * 1024,
        ),
        lease_seconds=loading.lease_seconds,
        reject_limit=RejectLimit(
            rows=loading.reject_limit_rows if rows is None else rows,
            ratio=loading.reject_limit_ratio if ratio is None else ratio,
        ),
        force=force,
        run_id=run_id,
    )


def transfer_windows(
    connect: Connector,
    transfer: Transfer,
    source: Connector,
    days: Sequence[date] | None,
    options: LoadOptions,
) -> Iterator[LoadReport]:
    """Make the target, or days of it, what the source says; mode `full`.

    Args:
        source: Opens connections to the source.
        days: Of a transfer with a window column; None for one without.

    Yields:
        One report for each window, in the order of commits.

    Raises:
        SchemaMismatch: The two sides do not fit; nothing was read.
        DatabaseUnavailable: The target failed; windows reported before are committed.
        SourceUnavailable: The source failed.
    """
    with closing(connect()) as conn, open_snapshot(source, transfer) as seen:
        plan = plan_transfer(seen, conn, transfer)
        windows = [WHOLE] if days is None else [window_of(plan, day) for day in days]
        generations = _generations(conn, plan, windows)
        items = [
            Reading(plan, source, window, options.reject_limit.rows).as_source(
                seen, generations.get(window.key, 0)
            )
            for window in windows
        ]
    yield from load_windows(connect, plan.contract, SCOPE, items, options)


def window_of(plan: TransferPlan, day: date) -> Window:
    """A day of the window column, in UTC where it holds instants."""
    if plan.window_type == "date":
        return Window.of_day(day)
    zone = UTC if plan.window_type == "timestamp with time zone" else None
    start = datetime.combine(day, time.min, tzinfo=zone)
    return Window(day.isoformat(), start, start + timedelta(days=1))


def _generations(
    conn: psycopg.Connection, plan: TransferPlan, windows: Sequence[Window]
) -> dict[str, int]:
    """The load that last published each window.

    It is part of the source's hash: chunks staged since then are continued, and a source is read
    again after every publish, because a table cannot say whether it has changed.
    """
    rows = conn.execute(
        "SELECT window_key, load_id FROM ops.windows "
        "WHERE target = %s AND scope = %s AND window_key = ANY (%s)",
        (plan.contract.target, SCOPE.name, [window.key for window in windows]),
    ).fetchall()
    return dict(rows)


@dataclass(frozen=True, slots=True)
class Reading:
    """One window of a transfer's source.

    Attributes:
        limit_rows: More rows that a function cannot take end the load.
    """

    plan: TransferPlan
    source: Connector
    window: Window
    limit_rows: int

    @property
    def conditions(self) -> list[sql.Composable]:
        """What makes a row one of the window."""
        if self.window.start is None:
            return []
        return [self.plan.statement.within(self.window.start, self.window.end)]

    def as_source(self, conn: psycopg.Connection, generation: int) -> WindowSource:
        """The window as the loading core takes it.

        Args:
            conn: To the source, to ask how large the window is.
            generation: The load that last published the window.
        """
        transfer = self.plan.transfer
        with reading(transfer):
            statement = self.plan.statement.select(*self.conditions)
            rows = estimate_rows(conn, statement)
            identity = f"{statement.as_string(conn)}|{transfer.transform}|{generation}"
        return WindowSource(
            window=self.window,
            source_file=transfer.origin,
            source_hash=hashlib.sha256(identity.encode()).hexdigest(),
            read=_refuse_decoded,
            bulk=BulkFeed(
                is_small=rows <= transfer.direct_rows,
                empty_ok=transfer.empty_ok,
                open=self._open_all,
                chunks=self._chunks,
            ),
        )

    @contextmanager
    def _open_all(self, constants: Constants) -> Iterator[BulkStream]:
        with (
            open_snapshot(self.source, self.plan.transfer) as conn,
            open_stream(self.plan, conn, self.conditions, constants, self.limit_rows) as stream,
        ):
            yield stream

    def _chunks(
        self, position: Position | None, next_rows: Callable[[], int]
    ) -> Iterator[BulkChunk]:
        """Ranges of the key, all of one snapshot of the source."""
        statement, transfer = self.plan.statement, self.plan.transfer
        with open_snapshot(self.source, transfer) as conn:
            with reading(transfer):
                ordered = statement.read_ordered(conn, transfer.source_keys)
            while True:
                begun = [*self.conditions]
                if position:
                    begun.append(ordered.compared(">", position))
                with reading(transfer):
                    end = statement.find_range_end(conn, ordered, begun, next_rows())
                if end is None:
                    return
                within = [*begun, ordered.compared("<=", end)]
                yield BulkChunk(partial(self._open_range, conn, within), end)
                position = end

    @contextmanager
    def _open_range(
        self,
        conn: psycopg.Connection,
        conditions: Sequence[sql.Composable],
        constants: Constants,
    ) -> Iterator[BulkStream]:
        with open_stream(self.plan, conn, conditions, constants, self.limit_rows) as stream:
            yield stream


@contextmanager
def open_stream(
    plan: TransferPlan,
    conn: psycopg.Connection,
    conditions: Sequence[sql.Composable],
    constants: Constants,
    limit_rows: int,
    *,
    hold: bool = False,
) -> Iterator[BulkStream]:
    """Rows of the source as a stream of the target's columns.

    Args:
        conn: To the source; busy until the block ends.
        hold: Read all rows before the block begins, and leave the connection free in it.
    """
    kind = HeldCopy if hold else CopyOut
    transfer, statement = plan.transfer, plan.statement
    guard = partial(reading, transfer)
    if not transfer.python_transform:
        select = statement.select(*conditions, constants=as_literals(constants))
        copy = kind(conn, select, guard)
        stream: BulkStream = RawStream(copy)
    else:
        copy = kind(conn, statement.select(*conditions), guard, "csv")
        stream = FunctionStream(
            copy,
            plan.source_columns,
            BatchFunction(
                find_function(transfer.python_transform),
                transfer.rows_as,
                plan.stored_schema,
                transfer.origin,
            ),
            constants,
            encode_batches,
            limit_rows,
        )
    try:
        if isinstance(copy, HeldCopy):
            copy.hold()
        yield stream
    finally:
        copy.close()


def _refuse_decoded(_: Position | None) -> Iterator[SourceBatch]:
    raise AssertionError("a transfer is read by its streams")
