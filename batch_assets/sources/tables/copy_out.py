"""COPY TO STDOUT as buffers, read ahead by a thread.

The bytes are not looked at: whoever takes them sends them on, or decodes them (decode.py).
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Literal

import psycopg
from psycopg import sql

# A buffer is handed on when it is this full: smaller ones cost a thread switch each.
BUFFER_BYTES = 256 * 1024

# Buffers read ahead; with them the memory of a stream is bounded, whatever the table's size.
_BUFFERS_AHEAD = 8


class _Stopped(Exception):
    """The consumer went away; the query is cancelled."""


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
            with self.conn.cursor() as cursor:
                with cursor.copy(statement) as copy:
                    self._read_ahead(copy)
                self.rows = cursor.rowcount
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - raised in the consumer's thread
            self._failure = error
        self._queue.put(None)

    def _read_ahead(self, copy: psycopg.Copy) -> None:
        buffer = bytearray()
        # One row a call: psycopg has no larger unit for COPY TO.
        while data := copy.read():
            buffer += data
            if len(buffer) >= BUFFER_BYTES:
                self._put(buffer)
                buffer = bytearray()
        if buffer:
            self._put(buffer)

    def _put(self, buffer: bytearray) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._queue.put(buffer)
