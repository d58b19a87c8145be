"""Dead letters together with what a person answered: which of them are still to be judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg

from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.errors import StaleAnswer
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook
from batch_assets.loading.letters import LetterFilter, read_letters
from batch_assets.sources.spreadsheets.answers import Answer
from batch_assets.sources.spreadsheets.correctable import CorrectableRow
from batch_assets.sources.spreadsheets.corrections import CorrectedRow, correct

Pending = tuple[CorrectedRow, Answer]
AsCorrectable = Callable[[DeadLetter], CorrectableRow]


@dataclass(frozen=True, slots=True)
class LetterWindow:
    """Where dead letters belong.

    Attributes:
        target: Table.
        scope: As in the ledger.
        key: Of the window.
    """

    target: str
    scope: str
    key: str

    def holds(self, letter: DeadLetter) -> bool:
        """Whether a dead letter of the target belongs here."""
        return (letter.scope, letter.window_key) == (self.scope, self.key)


def find_windows(
    conn: psycopg.Connection, workbook: CorrectedWorkbook, target: str, words: str
) -> dict[LetterWindow, int]:
    """Windows that rows of a workbook belong to, in order, each with the number of its rows.

    Args:
        conn: Only read.
        workbook: Its answers.
        target: The table that all rows must belong to.
        words: What wants that table, for messages.

    Raises:
        StaleAnswer: A row is of another table, or of another database.
    """
    totals: dict[LetterWindow, int] = {}
    for answers in workbook.batches():
        ids = [answer.dead_letter_id for answer in answers]
        rows = conn.execute(
            "SELECT dead_letter_id, target, scope, window_key FROM ops.dead_letters "
            "WHERE dead_letter_id = ANY (%s)",
            (ids,),
        ).fetchall()
        unknown = sorted(set(ids) - {row[0] for row in rows})
        if unknown:
            raise StaleAnswer(
                f"{workbook.file}: _id {unknown[0]} is no dead letter of this database, expected "
                "the numbers that were written; give the workbook to the database that it came from"
            )
        for _, table, scope, window_key in rows:
            if table != target:
                raise StaleAnswer(
                    f"{workbook.file}: its rows belong to {table}, {words} to {target}; name the "
                    "right template with --template, and export one table at a time (--target)"
                )
            window = LetterWindow(table, scope, window_key)
            totals[window] = totals.get(window, 0) + 1
    return dict(sorted(totals.items(), key=lambda item: (item[0].scope, item[0].key)))


def read_pending(
    conn: psycopg.Connection,
    workbook: CorrectedWorkbook,
    window: LetterWindow,
    as_correctable: AsCorrectable,
    *,
    is_locking: bool = False,
) -> Iterator[list[Pending]]:
    """Rows of a window that are still to be answered, a thousand at a time; see `pending_of`."""
    for answers in workbook.batches():
        found = pending_of(
            conn, workbook.file, answers, window.target, as_correctable, is_locking=is_locking
        )
        pending = [pair for pair in found if window.holds(pair[0].row.letter)]
        if pending:
            yield pending


def pending_of(
    conn: psycopg.Connection,
    file: str,
    answers: list[Answer],
    target: str,
    as_correctable: AsCorrectable,
    *,
    is_locking: bool = False,
) -> list[Pending]:
    """Those of some answers whose rows are still to be answered.

    Args:
        conn: Within a transaction.
        file: Name of the workbook.
        answers: Not too many.
        target: The table of their rows.
        as_correctable: The cells of a dead letter.
        is_locking: Nobody else may answer them until the transaction ends.

    Raises:
        StaleAnswer: A row was answered otherwise, or is no longer rejected.
    """
    by_id = {answer.dead_letter_id: answer for answer in answers}
    wanted = LetterFilter(ids=list(by_id), target=target, state=None)
    pending = []
    for letter in read_letters(conn, wanted, is_locking=is_locking):
        answer = by_id[letter.dead_letter_id]
        row = correct(as_correctable(letter), answer)
        if not _is_answered(letter, answer, row, file):
            pending.append((row, answer))
    return pending


def reasons_to_drop(rows: list[Pending], file: str) -> dict[int, str]:
    """Why rows are not to be loaded, of those that a person dropped, by dead letter."""
    return {
        row.dead_letter_id: answer.note or f"dropped in {file}"
        for row, answer in rows
        if answer.action == "drop"
    }


def _is_answered(letter: DeadLetter, answer: Answer, row: CorrectedRow, file: str) -> bool:
    """Whether a dead letter was answered in the same way already.

    Raises:
        StaleAnswer: It was answered in another way, or nobody has to answer it any more.
    """
    if letter.state == "open":
        return False
    place = f"{file} row {answer.row} (_id {letter.dead_letter_id}, {letter.source_file} "
    place += f"row {letter.row})"
    if letter.state == "superseded":
        raise StaleAnswer(
            f"{place}: a newer load of {letter.source_file} no longer rejects this row; nothing "
            "was changed; correct the workbook of the newer load, or remove the row from this one"
        )
    is_same = {name: text for name, (text, _) in row.given.items()} == {
        name: text for name, (text, _) in letter.corrected.items()
    }
    if answer.action == "drop" and letter.state == "discarded":
        return True
    if answer.action == "fix" and letter.state == "replayed" and is_same:
        return True
    when = f"{letter.answered_at:%Y-%m-%d %H:%M}" if letter.answered_at else "before"
    raise StaleAnswer(
        f"{place}: was {letter.state} by {letter.answered_by or 'somebody'} on {when} from "
        f"{letter.answered_from or 'a command'}, with other values; nothing was changed; remove "
        "the row from the workbook, or send a changed row in a new file"
    )
