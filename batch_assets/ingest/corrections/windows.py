"""Corrected rows back into the windows that rejected them, whatever domain they belong to.

What a row means is the domain's to say (RowJudge); locking, the ledger and the commit are in
loading/replay.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import StaleAnswer
from batch_assets.ingest.corrections.answered import (
    LetterWindow,
    Pending,
    find_windows,
    read_pending,
    reasons_to_drop,
)
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook, WorkbookReplay
from batch_assets.loading.leases import Connector
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.replay import ReplayRequest, replay_window
from batch_assets.loading.replay_answers import AnsweredLetters
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.spreadsheets.correctable import CorrectableRow
from batch_assets.sources.spreadsheets.corrections import CorrectedRow


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Corrected rows, judged.

    Attributes:
        rows: Good ones, with the contract's columns.
        letters: The dead letter of each of them.
        refused: What is still wrong with the others, by dead letter.
    """

    rows: pa.RecordBatch
    letters: Sequence[DeadLetter]
    refused: Mapping[int, tuple[Violation, ...]]


class RowJudge(Protocol):
    """What a domain says about the rows of one window."""

    contract: TableContract
    scope: Scope
    window: Window

    def correctable(self, letter: DeadLetter) -> CorrectableRow:
        """A dead letter with the cells that a person sees."""
        ...

    def judge(self, rows: Sequence[CorrectedRow]) -> JudgedRows:
        """Judge rows as those of the source are."""
        ...


@dataclass(frozen=True, slots=True)
class ReplayDomain:
    """A domain whose rows are merged into windows.

    Attributes:
        target: Table.
        words: What wants that table, for messages (`the template orders`).
        open_window: The judge of a window.
        options_of: Bounds of a load into it.
        write_errors: Writes what a load still rejects into a workbook, if there is any.
        source_columns: Columns of the table that name the file of a row; none where it has none.
        place_columns: Columns of the table that name the place in the file.
    """

    target: str
    words: str
    open_window: Callable[[psycopg.Connection, LetterWindow], RowJudge]
    options_of: Callable[[LetterWindow], LoadOptions]
    write_errors: Callable[[psycopg.Connection, int], Path | None]
    source_columns: tuple[str, ...] = ()
    place_columns: tuple[str, ...] = ()


def replay_windows(
    connect: Connector, domain: ReplayDomain, workbook: CorrectedWorkbook, *, who: str
) -> WorkbookReplay:
    """Judge the rows of a corrected workbook again, and load those that are right now.

    All rows are looked at before anything is changed; then each window is one transaction.

    Args:
        connect: Opens a connection.
        domain: Whose rows they are.
        workbook: Its answers.
        who: Whose they are.

    Raises:
        StaleAnswer: Rows are answered otherwise, or have moved on; nothing was changed.
        LeaseHeld: Somebody else is writing the window.
    """
    with translating_errors(), connect() as conn:
        totals = find_windows(conn, workbook, domain.target, domain.words)
        judges = {
            window: _WindowAnswers(workbook, window, domain.open_window(conn, window))
            for window in totals
        }
        counts = {window: judge.count(conn) for window, judge in judges.items()}
    replays, errors = [], []
    for window, judge in judges.items():
        if not counts[window]:
            continue
        rows = judge.rows
        request = ReplayRequest(
            contract=rows.contract,
            scope=rows.scope,
            window=rows.window,
            source_columns=domain.source_columns,
            place_columns=domain.place_columns,
            answered_from=workbook.file,
            who=who,
        )
        report = replay_window(connect, request, judge.judge, domain.options_of(window))
        replays.append(report)
        if report.refused:
            with translating_errors(), connect() as conn:
                path = domain.write_errors(conn, report.load_id)
            errors += [path] if path else []
    answered = sum(totals.values()) - sum(counts.values())
    return WorkbookReplay(workbook.file, tuple(replays), answered, tuple(errors))


@dataclass(frozen=True, slots=True)
class _WindowAnswers:
    """The answers that belong to one window."""

    workbook: CorrectedWorkbook
    window: LetterWindow
    rows: RowJudge

    def count(self, conn: psycopg.Connection) -> int:
        """How many rows are still to be answered."""
        pending = read_pending(conn, self.workbook, self.window, self.rows.correctable)
        return sum(len(rows) for rows in pending)

    def judge(self, conn: psycopg.Connection, former_load_id: int) -> Iterator[AnsweredLetters]:
        """Judge all answers of the window, within the transaction that loads them."""
        pending = read_pending(
            conn, self.workbook, self.window, self.rows.correctable, is_locking=True
        )
        for rows in pending:
            for row, _ in rows:
                _check_load(row.row.letter, former_load_id, self.workbook.file)
            yield self._judge(rows)

    def _judge(self, rows: list[Pending]) -> AnsweredLetters:
        fixing = [row for row, answer in rows if answer.action == "fix"]
        judged = self.rows.judge(fixing)
        return AnsweredLetters(
            rows=judged.rows,
            letter_ids=[letter.dead_letter_id for letter in judged.letters],
            read_load_ids=[letter.read_load_id for letter in judged.letters],
            refused=judged.refused,
            dropped=reasons_to_drop(rows, self.workbook.file),
            given={row.dead_letter_id: row.given for row, _ in rows},
            sheets={row.dead_letter_id: row.row.letter.sheet for row in fixing},
        )


def _check_load(letter: DeadLetter, former_load_id: int, file: str) -> None:
    if letter.load_id != former_load_id:
        raise StaleAnswer(
            f"{file} (_id {letter.dead_letter_id}): load {letter.load_id} of "
            f"{letter.source_file}, which rejected the row, is not the one that the partition is "
            f"published from ({former_load_id}): it failed as a whole, or only a part was read "
            "since; nothing was changed; correct the source itself and load the partition again"
        )
