"""Streams: loads that are published part by part, for what has no window to publish at once.

A part may write any number of tables. Its rows, dead letters, counts in the ledger and checkpoint
are one transaction, fenced by the lease of the stream; what was committed stays, whatever happens
to the parts after it. A part whose connection breaks is written again on another one, once only:
the checkpoint says whether the first attempt was committed after all.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import psycopg
import stamina
from psycopg.types.json import Jsonb

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import BatchAssetsError, InfrastructureError, LeaseHeld, LeaseLost
from batch_assets.execution.failpoints import reach
from batch_assets.loading.column_types import check_columns, read_columns
from batch_assets.loading.dead_letters import write_dead_letters
from batch_assets.loading.leases import (
    Connector,
    Heartbeat,
    drop_leases,
    release_leases,
    require_leases,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import Closing, LoadContext, close_running_load
from batch_assets.loading.opening import open_windows
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Between two looks at a stream that somebody else is writing.
_LEASE_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a stream is written; none of it changes what is written.

    Attributes:
        lease_seconds: How long a silent holder keeps the stream.
        lease_wait_seconds: How long to wait for a stream that somebody else is writing.
        retries: How often a part is tried again after its connection broke.
        first_wait_seconds: Before the first of them; doubled after each, with jitter.
        run_id: Shown in the ledger.
        personal: Personal columns, besides those of the contracts.
    """

    lease_seconds: float = 30.0
    lease_wait_seconds: float = 60.0
    retries: int = 3
    first_wait_seconds: float = 1.0
    run_id: str | None = None
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Part:
    """What the rows of one transaction amount to.

    Attributes:
        ledger: Rows by outcome; has to balance.
        rejected: Dead letters.
        settled_files: Files whose earlier dead letters, in any window, are answered by this part.
        position: Where a source that can resume continues; empty where the tables say so.
    """

    ledger: Ledger
    rejected: Sequence[RejectedRow] = ()
    settled_files: Sequence[str] = ()
    position: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(slots=True)
class Stream:
    """An open stream: its lease is held and renewed, its load is `running`.

    Attributes:
        conn: Outside of a transaction between calls; another one after a broken connection.
        load_id: Row of ops.loads.
        resumed_from: Position of the last part committed before this load; empty if there is none.
        ledger: Sum of the parts committed by this load.
    """

    connect: Connector
    conn: psycopg.Connection
    context: LoadContext
    window: Window
    options: StreamOptions
    load_id: int
    tokens: dict[str, int]
    resumed_from: Mapping[str, int | str]
    ledger: Ledger = field(default_factory=Ledger)
    _part_no: int = 0

    @property
    def resource(self) -> str:
        """What one writer at a time may write."""
        return self.context.resource(self.window)

    def read(self, query: Callable[[psycopg.Connection], T]) -> T:
        """Ask something between two parts; leaves no transaction open."""
        return self._retrying(lambda: self._read_once(query))

    def _read_once(self, query: Callable[[psycopg.Connection], T]) -> T:
        # Each statement by itself: BEGIN and ROLLBACK would be two more trips to the server.
        self.conn.autocommit = True
        try:
            return query(self.conn)
        finally:
            if not self.conn.closed:
                self.conn.autocommit = False

    def publish(self, write: Callable[[psycopg.Connection], Part]) -> Part:
        """Write one part and commit it.

        Args:
            write: Writes rows in the transaction of the connection it is given, and does not
                commit; called again if that connection breaks.

        Raises:
            LeaseLost: Somebody else has taken the stream over; nothing was published.
            LedgerImbalance: The part does not account for all its rows.
            DatabaseUnavailable: The database failed, retries included.
        """
        self._part_no += 1
        attempts = 0
        kept: list[Part] = []

        def attempt() -> Part:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and kept and self._is_committed():
                return kept[-1]
            part = self._write(write)
            kept.append(part)
            reach("stream.before_commit")
            self.conn.commit()
            reach("stream.after_commit")
            return part

        part = self._retrying(attempt)
        self.ledger += part.ledger
        return part

    def _write(self, write: Callable[[psycopg.Connection], Part]) -> Part:
        part = write(self.conn)
        reach("stream.after_rows")
        part.ledger.check(self.resource)
        write_dead_letters(self.conn, self.context, self.window, self.load_id, part.rejected)
        counted = self.conn.execute(
            read_query("record_stream_part"),
            {
                **_named(part.ledger),
                "load_id": self.load_id,
                "target": self.context.contract.target,
                "scope": self.context.scope.name,
                "settled_files": list(part.settled_files),
            },
        ).rowcount
        if counted != 1:
            raise LeaseLost(
                f"load {self.load_id} of {self.resource} is no longer running: another process "
                "took it over; this part was not published; the new holder's load counts"
            )
        self._checkpoint(part)
        # Last before the commit: a takeover waits for it, or has happened and is seen.
        require_leases(self.conn, self.tokens)
        return part

    def _checkpoint(self, part: Part) -> None:
        self.conn.execute(
            read_query("record_stream_checkpoint"),
            {
                "resource": self.resource,
                "part_no": self._part_no,
                "contract_version": self.context.contract.fingerprint,
                "load_id": self.load_id,
                "rows_read": part.ledger.read,
                "rows_rejected": part.ledger.rejected,
                "rows_skipped": part.ledger.skipped,
                "position": Jsonb(dict(part.position)),
            },
        )

    def _is_committed(self) -> bool:
        """Whether the part that is tried again was committed, its answer lost."""
        row = self.conn.execute(
            "SELECT chunk_no FROM ops.checkpoints WHERE resource = %s AND load_id = %s",
            (self.resource, self.load_id),
        ).fetchone()
        self.conn.rollback()
        return row is not None and row[0] >= self._part_no

    def _retrying(self, action: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=InfrastructureError,
            attempts=self.options.retries + 1,
            timeout=None,
            wait_initial=self.options.first_wait_seconds,
            wait_jitter=self.options.first_wait_seconds,
            wait_max=60.0,
        ):
            with attempt, translating_errors():
                if self.conn.closed or self.conn.broken:
                    self.conn = self.connect()
                try:
                    return action()
                except BaseException:
                    if not (self.conn.closed or self.conn.broken):
                        self.conn.rollback()
                    raise
        raise AssertionError("stamina ends with the value or raises")  # pragma: no cover

    def close(
        self,
        state: LoadState,
        *,
        reason: str = "",
        message: str = "",
        error: BatchAssetsError | None = None,
        metrics: Mapping[str, object] | None = None,
        keep_position: bool = False,
    ) -> LoadReport:
        """End the load and give its lease up.

        Args:
            keep_position: The next load continues where this one ended.

        Raises:
            LeaseLost: Somebody else has taken the stream over.
        """
        self._retrying(
            lambda: self._close_once(
                Closing(
                    load_id=self.load_id,
                    state=state,
                    reason=reason,
                    ledger=self.ledger,
                    error=error,
                    metrics=metrics or {},
                ),
                keep_position=keep_position,
            )
        )
        return LoadReport(
            load_id=self.load_id,
            window=self.window,
            state=state,
            ledger=self.ledger,
            reason=reason,
            message=message,
            error=error,
        )

    def _close_once(self, ending: Closing, *, keep_position: bool) -> None:
        if not close_running_load(self.conn, ending):
            raise LeaseLost(
                f"load {self.load_id} of {self.resource} is no longer running: another process "
                "took it over; its parts stay published; the new holder's load goes on"
            )
        if not keep_position:
            self.conn.execute("DELETE FROM ops.checkpoints WHERE resource = %s", (self.resource,))
        release_leases(self.conn, self.tokens)
        self.conn.commit()


@contextmanager
def open_stream(
    connect: Connector,
    contracts: Sequence[TableContract],
    scope: Scope,
    window: Window,
    options: StreamOptions | None = None,
) -> Iterator[Stream]:
    """Take a stream; if the body fails, what is left of it is given back.

    Args:
        connect: Opens a connection; one for the stream, one for the heartbeat if it lasts.
        contracts: The tables its parts write; the first one names the stream in the ledger.
        scope: What all rows have in common.
        window: Names the stream within the scope.

    Raises:
        LeaseHeld: Somebody else is writing it, for longer than we wait.
        SchemaMismatch: A contract and its table disagree; nothing was read.
    """
    options = options or StreamOptions()
    first = replace(contracts[0], personal=contracts[0].personal | options.personal)
    context = LoadContext(first, scope, options.run_id)
    with translating_errors(), closing(connect()) as conn:
        for contract in contracts:
            check_columns(contract, read_columns(conn, contract.target))
        conn.commit()
        tokens, load_id = _take(conn, context, window, options)
        position = _read_position(conn, context.resource(window))
        stream = Stream(connect, conn, context, window, options, load_id, tokens, position)
        with Heartbeat(connect, options.lease_seconds) as heartbeat:
            heartbeat.add(tokens)
            try:
                yield stream
            except BaseException as error:
                _abandon(stream, error)
                raise
            finally:
                heartbeat.remove(tokens)
                stream.conn.close()


def _take(
    conn: psycopg.Connection, context: LoadContext, window: Window, options: StreamOptions
) -> tuple[dict[str, int], int]:
    source = WindowSource(window, "", None, lambda _: iter(()))
    deadline = time.monotonic() + options.lease_wait_seconds
    while True:
        tokens, load_ids = open_windows(
            conn, context, [source], lease_seconds=options.lease_seconds
        )
        if tokens:
            reach("stream.after_lease")
            return tokens, load_ids[window.key]
        if time.monotonic() >= deadline:
            raise _held(conn, context.resource(window), options)
        time.sleep(min(_LEASE_POLL_SECONDS, options.lease_wait_seconds))


def _held(conn: psycopg.Connection, resource: str, options: StreamOptions) -> LeaseHeld:
    row = conn.execute(
        "SELECT holder, acquired_at FROM ops.leases WHERE resource = %s", (resource,)
    ).fetchone()
    conn.rollback()
    holder = f"{row[0]} since {row[1]:%Y-%m-%d %H:%M:%S%z}" if row else "somebody else"
    return LeaseHeld(
        f"{resource} is being written by {holder}; waited {options.lease_wait_seconds:.0f} s for "
        "it; nothing was read; run again when that load has ended"
    )


def _read_position(conn: psycopg.Connection, resource: str) -> Mapping[str, int | str]:
    row = conn.execute(
        "SELECT position FROM ops.checkpoints WHERE resource = %s ORDER BY chunk_no DESC LIMIT 1",
        (resource,),
    ).fetchone()
    conn.rollback()
    return dict(row[0]) if row else {}


def _abandon(stream: Stream, cause: BaseException) -> None:
    """Close the load as interrupted; where the connection is gone, the lease runs out by itself."""
    conn = stream.conn
    if conn.closed or conn.broken:
        return
    try:
        conn.rollback()
        conn.execute(
            read_query("interrupt_stream"),
            {
                "load_id": stream.load_id,
                "error_class": type(cause).__name__,
                "error_message": str(cause),
            },
        )
        drop_leases(conn, stream.tokens)
        conn.commit()
    except psycopg.Error:
        logger.warning("a stream could not be given back; its lease runs out", exc_info=True)


def _named(ledger: Ledger) -> dict[str, int]:
    return {item.name: getattr(ledger, item.name) for item in fields(ledger)}
