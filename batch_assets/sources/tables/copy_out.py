"""COPY TO STDOUT as buffers, read ahead by a thread.

The bytes are not looked at: whoever takes them sends them on, or decodes them (decode.py).
"""

import queue
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

# A buffer is handed on when it is this full: smaller ones cost a thread switch each.
BUFFER_BYTES = 256 * 1024

# Buffers read ahead; with them the memory of a stream is bounded, whatever the table's size.
_BUFFERS_AHEAD = 8

# Between two looks at whether the consumer has gone, while the source is silent.
_WAIT_SECONDS = 0.5


@dataclass(slots=True)
class CopyOut:
    """The rows of one statement as a COPY stream; iterate once.

    Attributes:
        guard: Puts the source's failures into our words.
        rows: Rows sent, by the server's count; known at the end of the iteration.
    """

    conn: psycopg.Connection
    statement: sql.Composable
    guard: Callable[[], AbstractContextManager[None]]
    copy_format: Literal["binary", "csv"] = "binary"
    rows: int = 0
    _queue: "queue.Queue[bytearray | None]" = field(
        default_factory=lambda: queue.Queue(_BUFFERS_AHEAD)
    )
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytearray]:
        """Buffers in order.

        Raises:
            BatchAssetsError: What the guard makes of the source's failure; what was yielded
                before is incomplete.
        """
        self._thread = threading.Thread(target=self._read, name="copy-out")
        self._thread.start()
        while (buffer := self._queue.get()) is not None:
            yield buffer
        self.close()
        if self._failure is not None:
            with self.guard():
                raise self._failure

    def close(self) -> None:
        """End the reading thread; a query that is under way is cancelled."""
        self._stop.set()
        thread = self._thread
        while thread is not None and thread.is_alive():
            # Whoever waits for room in the queue gets it, and sees that it may stop.
            with suppress(queue.Empty):
                self._queue.get(timeout=0.01)

    def _read(self) -> None:
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(
            self.statement, sql.SQL(self.copy_format)
        )
        try:
            # Begins the transaction, and with it the snapshot, as the connection is set up.
            self.conn.execute("SELECT")
            self._send(statement.as_bytes(self.conn))
            self.rows = self._receive()
        except BaseException as error:  # noqa: BLE001 - raised in the consumer's thread
            self._failure = error
        self._put(None)

    def _send(self, statement: bytes) -> None:
        self.conn.pgconn.send_query(statement)
        result = self._next_result()
        if result is None or result.status != ExecStatus.COPY_OUT:
            self._drain()
            raise _error_of(result)

    def _receive(self) -> int:
        """Hand buffers on; returns the server's row count.

        Below the cursor's level: three times less processor time for each row than its copy
        objects take (0.2 against 0.6 us, measured).
        """
        connection, buffer, is_cancelled = self.conn.pgconn, bytearray(), False
        while True:
            size, data = connection.get_copy_data(1)
            if size > 0:
                buffer += data
                if len(buffer) >= BUFFER_BYTES:
                    self._put(buffer)
                    buffer = bytearray()
            elif size == 0:
                if self._stop.is_set() and not is_cancelled:
                    is_cancelled = True
                    self.conn.cancel()
                self._wait()
            else:
                break
        self._put(buffer)
        result = self._next_result()
        self._drain()
        if result is None or result.status != ExecStatus.COMMAND_OK:
            raise _error_of(result)
        return result.command_tuples or 0

    def _wait(self) -> None:
        """Wait for bytes of the server, without holding the interpreter."""
        select.select([self.conn.pgconn.socket], [], [], _WAIT_SECONDS)
        self.conn.pgconn.consume_input()

    def _next_result(self) -> PGresult | None:
        while self.conn.pgconn.is_busy():
            self._wait()
        return self.conn.pgconn.get_result()

    def _drain(self) -> None:
        """Read to the end of the answer, so that the connection can be used again."""
        while self._next_result() is not None:
            continue

    def _put(self, buffer: bytearray | None) -> None:
        """Hand a buffer on, unless nobody wants it any more."""
        if not self._stop.is_set():
            self._queue.put(buffer)


def _error_of(result: PGresult | None) -> psycopg.Error:
    if result is None:
        return psycopg.OperationalError("the connection ended during COPY")
    return error_from_result(result)
