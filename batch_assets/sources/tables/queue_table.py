"""A table used as a queue: rows are claimed, and marked when they are stored elsewhere.

Claimed rows are locked until the transaction ends; others pass over them (SKIP LOCKED).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from batch_assets.postgres.names import column_list
from batch_assets.sources.tables.copy_out import CopyOut
from batch_assets.sources.tables.statement import SourceStatement
from batch_assets.sources.tables.transfer import Transfer

_CLAIMED = sql.Identifier("pg_temp", "batch_assets_claimed")


@dataclass(frozen=True, slots=True)
class QueueTable:
    """The queue that a transfer empties."""

    transfer: Transfer

    @property
    def is_claimed(self) -> sql.Composed:
        """Rows of the present claim."""
        return sql.SQL("({}) IN (SELECT {} FROM {})").format(
            self._keys("t"), column_list(self.transfer.source_keys), _CLAIMED
        )

    def claim(self, conn: psycopg.Connection, rows: int) -> int:
        """Lock the first rows that are not processed and that nobody else has locked.

        Returns:
            How many; 0 if there are none.
        """
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_CLAIMED))
        return conn.execute(
            sql.SQL(
                "CREATE TEMP TABLE batch_assets_claimed ON COMMIT DROP AS "
                "SELECT {0} FROM {1} WHERE NOT {2} ORDER BY {0} LIMIT {3} "
                "FOR UPDATE OF t SKIP LOCKED"
            ).format(
                self._keys("t"),
                SourceStatement(self.transfer).relation,
                sql.Identifier("t", self.transfer.processed_column),
                sql.Literal(rows),
            )
        ).rowcount

    def count_left(self, conn: psycopg.Connection) -> int:
        """Rows that are not processed, whoever holds them."""
        row = conn.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE NOT {}").format(
                SourceStatement(self.transfer).relation,
                sql.Identifier("t", self.transfer.processed_column),
            )
        ).fetchone()
        return int(row[0]) if row else 0

    def mark(self, conn: psycopg.Connection) -> int:
        """Mark the claimed rows as processed, in the caller's transaction.

        Returns:
            How many were marked.
        """
        return conn.execute(
            sql.SQL("UPDATE {} SET {} = TRUE WHERE {}").format(
                SourceStatement(self.transfer).relation,
                sql.Identifier(self.transfer.processed_column),
                self.is_claimed,
            )
        ).rowcount

    def _keys(self, alias: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(alias, name) for name in self.transfer.source_keys)


@dataclass(slots=True)
class HeldCopy(CopyOut):
    """A COPY stream read to its end before it is passed on.

    For a connection that also has to write what it reads: it can do one COPY at a time. Memory is
    bounded by the rows of one batch.
    """

    _held: list[bytearray] = field(default_factory=list)

    def hold(self) -> None:
        """Read all of it."""
        self._held = list(CopyOut.__iter__(self))

    def __iter__(self) -> Iterator[bytearray]:
        """The buffers held, in order."""
        while self._held:
            yield self._held.pop(0)
