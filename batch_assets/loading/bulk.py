"""The seam of sources that send encoded rows: binary COPY streams, whole or chunk by chunk.

Where source and target agree in every type, rows need not be decoded: their bytes pass. Whoever
makes a stream answers for its types, and says how many rows it read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position, RejectedRow
from batch_assets.errors import LedgerImbalance
from batch_assets.postgres.names import column_list

Constants = Mapping[str, int | str]
"""Columns with the same value in every row: the load, the place of a chunk."""


class BulkStream(Protocol):
    """Rows as one binary COPY stream; the counts are final once it is exhausted."""

    def __iter__(self) -> Iterator[bytes | bytearray]:
        """Buffers of the stream, header and trailer included."""

    @property
    def rows(self) -> int:
        """Rows in the stream."""

    @property
    def read(self) -> int:
        """Rows read from the source, by the source's count."""

    @property
    def skipped(self) -> int:
        """Rows left out on purpose."""

    @property
    def rejected(self) -> Sequence[RejectedRow]:
        """Rows left out because they are wrong."""


OpenStream = Callable[[Constants], AbstractContextManager[BulkStream]]


@dataclass(frozen=True, slots=True)
class BulkChunk:
    """A range of the source that is staged and committed together.

    Attributes:
        position: Of its last row.
    """

    open: OpenStream
    position: Position


@dataclass(frozen=True, slots=True)
class BulkFeed:
    """A window's rows as streams.

    Attributes:
        is_small: The window is loaded by one stream in one transaction; a larger one is staged.
        empty_ok: A window without rows is an answer.
        open: All rows of the window.
        chunks: Its rows after a position, in chunks of as many rows as is asked for each time;
            None where only the window's `read` can be continued.
    """

    is_small: bool
    empty_ok: bool
    open: OpenStream
    chunks: Callable[[Position | None, Callable[[], int]], Iterator[BulkChunk]] | None = None


def copy_stream(
    conn: psycopg.Connection, table: sql.Composable, columns: Sequence[str], stream: BulkStream
) -> int:
    """COPY a stream into a table, in the caller's transaction.

    Args:
        columns: Of the stream, in its order.

    Returns:
        The server's row count.

    Raises:
        LedgerImbalance: The server stored another number of rows than the source sent.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        table, column_list(columns)
    )
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for buffer in stream:
                copy.write(buffer)
        stored = cursor.rowcount
    if stored != stream.rows:
        raise LedgerImbalance(
            f"COPY stored {stored} rows, the source sent {stream.rows}; the transaction is rolled "
            "back; try again, and report it if it happens twice"
        )
    return stored
