"""A corrected workbook back into the partition that its rows were rejected from.

workbook -> worker reads the answers -> dead letters as they are now -> judged again -> replayed
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import SourceBatch, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.contracts.validate import validate_batch
from batch_assets.errors import StaleAnswer
from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits
from batch_assets.ingest.spreadsheets.deliveries import check_result, result_of
from batch_assets.ingest.spreadsheets.errors import read_layouts, write_load_errors
from batch_assets.ingest.spreadsheets.load import READ_LIMITS
from batch_assets.loading.leases import Connector
from batch_assets.loading.letters import LetterFilter, read_letters
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import join_batches
from batch_assets.loading.replay import ReplayReport, ReplayRequest, replay_window
from batch_assets.loading.replay_answers import AnsweredLetters
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.spreadsheets.answers import Answer, AnswersRequest, stream_answers
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.correctable import as_correctable, headers_of
from batch_assets.sources.spreadsheets.corrections import CorrectedRow, correct, judge_corrections
from batch_assets.sources.spreadsheets.header import name_columns
from batch_assets.sources.spreadsheets.spool import positions_of
from batch_assets.sources.spreadsheets.template import ContractMode, SpreadsheetTemplate

_READ = "batch_assets.sources.spreadsheets.answers:read_answers"
_BATCH = 1_000
_SOURCE = ("arrival_date", "source_file")
_PLACE = ("source_sheet", "source_row")


@dataclass(frozen=True, slots=True)
class WorkbookReplay:
    """What became of a corrected workbook, over all of its windows.

    Attributes:
        replays: One for each window that had something to answer.
        answered: Rows that were answered in the same way before; nothing happened to them.
        error_workbooks: What is still wrong, to be corrected again.
    """

    file: str
    replays: tuple[ReplayReport, ...] = ()
    answered: int = 0
    error_workbooks: tuple[Path, ...] = ()

    @property
    def fixed(self) -> int:
        """Rows that are loaded now."""
        return sum(report.fixed for report in self.replays)

    @property
    def dropped(self) -> int:
        """Rows that were discarded."""
        return sum(report.dropped for report in self.replays)

    @property
    def refused(self) -> int:
        """Rows that are still wrong."""
        return sum(report.refused for report in self.replays)


@dataclass(frozen=True, slots=True)
class CorrectedWorkbook:
    """A workbook that was read, and where its answers wait.

    Attributes:
        template: Name that the workbook gives; empty if it gives none.
        spool: Answers as lines.
    """

    file: str
    template: str
    spool: Path


def read_corrected(
    workers: IsolatedWorkers, path: Path, folder: Path, *, limits: TaskLimits = READ_LIMITS
) -> CorrectedWorkbook:
    """Have a corrected workbook read.

    Args:
        workers: One of them reads.
        path: The workbook; delimited text of the same columns does too.
        folder: Where the answers wait.
        limits: What reading may use.

    Raises:
        UnreadableSource: It cannot be read, or is no error workbook.
    """
    spool = folder / "answers"
    request = AnswersRequest(path, path.name, spool)
    result = result_of(workers.submit(Task(_READ, request, limits)).result(), path.name)
    check_result(result)
    return CorrectedWorkbook(path.name, next(iter(result.warnings), ""), spool)


def replay_workbook(
    connect: Connector,
    template: SpreadsheetTemplate,
    workbook: CorrectedWorkbook,
    *,
    who: str,
    options: LoadOptions,
    error_folder: Path,
) -> WorkbookReplay:
    """Judge the rows of a corrected workbook again, and load those that are right now.

    Args:
        connect: Opens a connection.
        template: By which the rows were read.
        workbook: Its answers.
        who: Whose they are.
        options: Bounds of the load.
        error_folder: Where the workbook of what is still wrong goes.

    Raises:
        StaleAnswer: Rows are answered otherwise, or have moved on; nothing was changed.
        LeaseHeld: Somebody else is writing the window.
    """
    with translating_errors(), connect() as conn:
        judges = _find_windows(conn, template, workbook)
        counts = [judge.check(conn) for judge in judges]
    replays, errors = [], []
    for judge, pending in zip(judges, counts, strict=True):
        if not pending:
            continue
        request = ReplayRequest(
            contract=judge.contract,
            scope=Scope(),
            window=judge.window,
            source_columns=_SOURCE,
            place_columns=_PLACE,
            answered_from=workbook.file,
            who=who,
        )
        report = replay_window(connect, request, judge.judge, options)
        replays.append(report)
        if report.refused:
            with translating_errors(), connect() as conn:
                path = write_load_errors(conn, template, report.load_id, error_folder)
            errors += [path] if path else []
    answered = sum(judge.total for judge in judges) - sum(counts)
    return WorkbookReplay(workbook.file, tuple(replays), answered, tuple(errors))


def _batches(workbook: CorrectedWorkbook) -> Iterator[list[Answer]]:
    answers = stream_answers(workbook.spool)
    while batch := list(islice(answers, _BATCH)):
        yield batch


def _find_windows(
    conn: psycopg.Connection, template: SpreadsheetTemplate, workbook: CorrectedWorkbook
) -> list["_WindowJudge"]:
    """A judge for each window that rows of the workbook belong to."""
    totals: dict[str, int] = {}
    for answers in _batches(workbook):
        ids = [answer.dead_letter_id for answer in answers]
        rows = conn.execute(
            "SELECT dead_letter_id, target, window_key FROM ops.dead_letters "
            "WHERE dead_letter_id = ANY (%s)",
            (ids,),
        ).fetchall()
        _check_known(workbook.file, template, ids, rows)
        for _, _, window_key in rows:
            totals[window_key] = totals.get(window_key, 0) + 1
    return [
        _WindowJudge(conn, template, workbook, window_key, total)
        for window_key, total in sorted(totals.items())
    ]


def _check_known(
    file: str,
    template: SpreadsheetTemplate,
    ids: Sequence[int],
    rows: Sequence[tuple[int, str, str]],
) -> None:
    unknown = sorted(set(ids) - {number for number, _, _ in rows})
    if unknown:
        raise StaleAnswer(
            f"{file}: _id {unknown[0]} is no dead letter of this database, expected the numbers "
            "that were written; give the workbook to the database that it came from"
        )
    other = next((target for _, target, _ in rows if target != template.table), None)
    if other is not None:
        raise StaleAnswer(
            f"{file}: its rows belong to {other}, the template {template.name} to "
            f"{template.table}; name the right template with --template"
        )


class _WindowJudge:
    """Judges the answers that belong to one window."""

    def __init__(
        self,
        conn: psycopg.Connection,
        template: SpreadsheetTemplate,
        workbook: CorrectedWorkbook,
        window_key: str,
        total: int,
    ) -> None:
        self.total = total
        self._template = template
        self._workbook = workbook
        self._day = date.fromisoformat(window_key[:10])
        layouts = read_layouts(conn, template.table, window_key)
        self._headers = headers_of(layouts)
        self._extra = _extra_of(template, conn, window_key)
        self.contract: TableContract = template_contract(template, self._extra)
        is_day = self.contract.window_column is not None
        self.window = Window.of_day(self._day) if is_day else Window(window_key)

    def check(self, conn: psycopg.Connection) -> int:
        """How many rows are still to be answered.

        Raises:
            StaleAnswer: A row was answered otherwise, or is no longer rejected.
        """
        return sum(len(rows) for rows in self._pending(conn, None))

    def judge(self, conn: psycopg.Connection, former_load_id: int) -> Iterator[AnsweredLetters]:
        """Judge all answers of the window, within the transaction that loads them."""
        for rows in self._pending(conn, former_load_id):
            yield self._judge(rows)

    def _pending(
        self, conn: psycopg.Connection, former_load_id: int | None
    ) -> Iterator[list[tuple[CorrectedRow, Answer]]]:
        for answers in _batches(self._workbook):
            by_id = {answer.dead_letter_id: answer for answer in answers}
            wanted = LetterFilter(ids=list(by_id), target=self._template.table, state=None)
            pending = []
            for letter in read_letters(conn, wanted, is_locking=former_load_id is not None):
                if letter.window_key != self.window.key:
                    continue
                answer = by_id[letter.dead_letter_id]
                row = correct(as_correctable(letter, self._template, self._headers), answer)
                if not _is_answered(letter, answer, row, self._workbook.file):
                    _check_load(letter, former_load_id, self._workbook.file)
                    pending.append((row, answer))
            if pending:
                yield pending

    def _judge(self, rows: Sequence[tuple[CorrectedRow, Answer]]) -> AnsweredLetters:
        fixing = [row for row, answer in rows if answer.action == "fix"]
        dropped = {
            row.dead_letter_id: answer.note or f"dropped in {self._workbook.file}"
            for row, answer in rows
            if answer.action == "drop"
        }
        by_place = {row.place: row for row in fixing}
        refused: dict[int, tuple[Violation, ...]] = {}
        good = []
        for judged in judge_corrections(self._template, self._day, self._extra, fixing):
            refused |= judged.refused
            validated = validate_batch(_as_batch(judged.rows), self.contract)
            for reject in validated.rejected:
                place = (reject.file, reject.sheet, reject.row)
                refused[by_place[place].dead_letter_id] = reject.violations
            good.append(validated.rows)
        typed = join_batches(self.contract, good)
        letters = [by_place[place].row.letter for place in _places_of(typed)]
        return AnsweredLetters(
            rows=typed,
            letter_ids=[letter.dead_letter_id for letter in letters],
            read_load_ids=[letter.read_load_id for letter in letters],
            refused=refused,
            dropped=dropped,
            given={row.dead_letter_id: row.given for row, _ in rows},
            sheets={row.dead_letter_id: row.row.letter.sheet for row in fixing},
        )


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


def _check_load(letter: DeadLetter, former_load_id: int | None, file: str) -> None:
    if former_load_id is not None and letter.load_id != former_load_id:
        raise StaleAnswer(
            f"{file} (_id {letter.dead_letter_id}): load {letter.load_id} of "
            f"{letter.source_file}, which rejected the row, failed as a whole, so its other rows "
            "are not loaded; nothing was changed; correct the file itself and load it again"
        )


def _extra_of(
    template: SpreadsheetTemplate, conn: psycopg.Connection, window_key: str
) -> Mapping[str, str]:
    """Text columns for headers that the template does not name, as the load named them."""
    if template.contract is not ContractMode.EVOLVE:
        return {}
    names = [
        cell.name
        for layout in read_layouts(conn, template.table, window_key)
        for cell in layout
        if not cell.column
    ]
    return name_columns(dict.fromkeys(names), {column.name for column in template.columns})


def _as_batch(rows: pa.RecordBatch) -> SourceBatch:
    return SourceBatch(
        read_rows=rows.num_rows,
        rows=rows,
        positions=positions_of(rows),
        originals=lambda indices: [{} for _ in indices],
    )


def _places_of(rows: pa.RecordBatch) -> list[tuple[str, str, int]]:
    columns = [rows.column(name).to_pylist() for name in ("source_file", *_PLACE)]
    return list(zip(*columns, strict=True))
