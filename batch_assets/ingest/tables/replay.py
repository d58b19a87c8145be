"""Dead letters of a transfer, tried again: their rows are read from the source by their keys.

What was corrected may be the row, the function or the constraint. A `full` transfer runs again
instead, for the windows that have dead letters: it makes them what the source says.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date

import psycopg

from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.ingest.tables.part import PartWriter, open_writer
from batch_assets.ingest.tables.transfer import SCOPE, WHOLE, transfer_windows
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.letters import LetterFilter, read_letters
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import count_reasons
from batch_assets.loading.report import LoadReport, LoadState, quote
from batch_assets.loading.streams import Part
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.tables.open import open_snapshot, reading
from batch_assets.sources.tables.statement import OrderedColumns
from batch_assets.sources.tables.transfer import Transfer, TransferMode

# Rows of one statement and one transaction.
_LETTERS = 500


def replay_transfer(
    connect: Connector,
    transfer: Transfer,
    source: Connector,
    options: LoadOptions,
    *,
    who: str,
    day: date | None = None,
) -> Iterator[LoadReport]:
    """Try the open dead letters of a transfer again.

    Args:
        who: Kept with the letters that are answered.
        day: Of a transfer with a window column; None for all of its days.

    Yields:
        One report for each window that has open dead letters; its message says what became of
        them. None if there are none.
    """
    if transfer.mode is TransferMode.FULL:
        with closing(connect()) as conn:
            keys = _open_windows(conn, transfer, day)
        if keys:
            days = [date.fromisoformat(key) for key in keys] if transfer.window_column else None
            yield from transfer_windows(connect, transfer, source, days, options)
        return
    with closing(connect()) as conn:
        ids = _open_letters(conn, transfer)
    if not ids:
        return
    # A few rows are tried, and most of them may be wrong still: that is no reason to stop.
    limit = replace(options.reject_limit, rows=len(ids), ratio=1.0)
    with (
        open_writer(connect, transfer, source, replace(options, reject_limit=limit)) as writer,
        # After the lease is held: what is read is newer than all that was stored.
        open_snapshot(source, transfer) as conn,
    ):
        yield _Replay(writer, conn, who).run(ids)


def _open_windows(conn: psycopg.Connection, transfer: Transfer, day: date | None) -> list[str]:
    rows = conn.execute(
        "SELECT DISTINCT window_key FROM ops.dead_letters WHERE target = %s AND scope = %s "
        "AND state = 'open' AND (window_key = %s) <> %s AND coalesce(window_key = %s, TRUE) "
        "ORDER BY window_key",
        (
            transfer.target,
            SCOPE.name,
            WHOLE.key,
            bool(transfer.window_column),
            day.isoformat() if day else None,
        ),
    ).fetchall()
    return [key for (key,) in rows]


def _open_letters(conn: psycopg.Connection, transfer: Transfer) -> list[int]:
    rows = conn.execute(
        "SELECT dead_letter_id FROM ops.dead_letters WHERE target = %s AND scope = %s "
        "AND window_key = %s AND state = 'open' ORDER BY dead_letter_id",
        (transfer.target, SCOPE.name, transfer.name),
    ).fetchall()
    return [number for (number,) in rows]


@dataclass(slots=True)
class _Replay:
    writer: PartWriter
    source: psycopg.Connection
    who: str
    fixed: int = 0

    def run(self, ids: Sequence[int]) -> LoadReport:
        transfer, stream = self.writer.plan.transfer, self.writer.stream
        with reading(transfer):
            ordered = self.writer.plan.statement.read_ordered(self.source, transfer.source_keys)
        for first in range(0, len(ids), _LETTERS):
            self._publish(ordered, ids[first : first + _LETTERS])
        wrong = stream.ledger.rejected
        absent = len(ids) - self.fixed - wrong
        counts = {"fixed": self.fixed, "still_wrong": wrong, "absent": absent}
        message = f"{len(ids)} dead letters: {self.fixed} loaded now, {wrong} still wrong"
        if absent:
            message += (
                f", {absent} not found: the source has no such row any more, or the transform "
                "leaves it out; discard them"
            )
        report = stream.close(
            LoadState.SUCCESS if self.fixed else LoadState.SKIPPED,
            reason="replay" if self.fixed else "nothing_corrected",
            message=message,
            metrics={"replay": {**counts, "who": self.who}},
            keep_position=True,
        )
        rejected = self.writer.rejected
        return replace(
            report,
            source_file=transfer.origin,
            reject_reasons=count_reasons(rejected),
            quoted_rejects=quote(rejected, self.writer.plan.contract),
        )

    def _publish(self, ordered: OrderedColumns, ids: Sequence[int]) -> None:
        fixed: list[int] = []

        def write(conn: psycopg.Connection) -> Part:
            letters = list(read_letters(conn, LetterFilter(ids=ids), is_locking=True))
            part, fixed[:] = self._write(conn, ordered, letters)
            return part

        part = self.writer.stream.publish(write)
        self.fixed += len(fixed)
        self.writer.rejected.extend(part.rejected)

    def _write(
        self, conn: psycopg.Connection, ordered: OrderedColumns, letters: Sequence[DeadLetter]
    ) -> tuple[Part, list[int]]:
        """Load what can be loaded now, and answer its dead letters, in the same transaction."""
        position = self.writer.stream.resumed_from
        keys = {values for letter in letters if (values := self._key_of(letter)) is not None}
        if not keys:
            return Part(Ledger(), position=position), []
        conditions = [ordered.among(sorted(keys))]
        part = self.writer.write(conn, self.source, conditions, position, hold=False)
        answered = set(part.settled_files) - {row.file for row in part.rejected}
        fixed = [item.dead_letter_id for item in letters if item.source_file in answered]
        nothing: list[str | None] = [None] * len(fixed)
        conn.execute(
            read_query("answer_dead_letters"),
            {
                "ids": fixed,
                "states": ["replayed"] * len(fixed),
                "givens": nothing,
                "violations": nothing,
                "resolutions": nothing,
                "who": self.who,
                "answered_from": None,
                "load_id": self.writer.stream.load_id,
            },
        )
        return part, fixed

    def _key_of(self, letter: DeadLetter) -> tuple[str, ...] | None:
        """Texts of the key; None for a row without one, which cannot be looked up."""
        values = self.writer.plan.transfer.key_of(letter.original).values()
        texts = tuple(value for value in values if value is not None)
        return texts if len(texts) == len(values) else None
