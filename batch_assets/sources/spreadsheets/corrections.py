"""Corrected rows, judged by the same template as the rows of the file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from batch_assets.contracts.batch import Violation
from batch_assets.contracts.personal import MASK
from batch_assets.sources.spreadsheets.answers import Answer
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind, SheetBlock
from batch_assets.sources.spreadsheets.correctable import CorrectableRow, fit_cell, shown_given
from batch_assets.sources.spreadsheets.header import Header
from batch_assets.sources.spreadsheets.judge import Arrival, Judge
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

_Cell = tuple[str | None, str]
_DATE_1904 = "serial_1904"


@dataclass(frozen=True, slots=True)
class CorrectedRow:
    """A dead letter with the cells that it is to be judged by.

    Attributes:
        cells: Text and kind, aligned with the layout.
        given: Those that differ from what the file says, by name.
    """

    row: CorrectableRow
    cells: tuple[_Cell, ...]
    given: Mapping[str, _Cell]

    @property
    def dead_letter_id(self) -> int:
        """Which dead letter."""
        return self.row.letter.dead_letter_id

    @property
    def place(self) -> tuple[str, str, int]:
        """File, sheet and row."""
        letter = self.row.letter
        return letter.source_file, letter.sheet, letter.row


@dataclass(frozen=True, slots=True)
class JudgedCorrections:
    """Corrected rows of one kind of file.

    Attributes:
        rows: Good ones, with the contract's columns.
        refused: What is still wrong with the others, by dead letter.
    """

    rows: pa.RecordBatch
    refused: Mapping[int, tuple[Violation, ...]]


def correct(row: CorrectableRow, answer: Answer) -> CorrectedRow:
    """Put what a person gave over what the file says.

    A cell that shows what was written into the workbook is taken from the file, with its kind and
    in its full length: a round trip through a spreadsheet program changes nothing. So is one that
    shows the mask of a personal value.
    """
    cells: list[_Cell] = []
    given: dict[str, _Cell] = {}
    before, personal = row.letter.corrected, row.personal

    def is_masked(name: str, seen: str) -> bool:
        return name in personal and seen == MASK

    for cell in row.layout:
        original = row.original.get(cell.name)
        in_file = (original if cell.raw is None else cell.raw, cell.kind)
        text, kind = answer.values.get(cell.name, in_file)
        seen = shown_given(text, kind) or ""
        if cell.name not in answer.values or (
            seen == fit_cell(original) or (is_masked(cell.name, seen) and cell.name not in before)
        ):
            cells.append(in_file)
            continue
        is_kept = seen == fit_cell(row.shown.get(cell.name)) or is_masked(cell.name, seen)
        if cell.name in before and is_kept:
            text, kind = before[cell.name]
        given[cell.name] = (text, kind)
        cells.append((text, kind))
    return CorrectedRow(row, tuple(cells), given)


def judge_corrections(
    template: SpreadsheetTemplate,
    day: date,
    extra: Mapping[str, str],
    rows: Sequence[CorrectedRow],
) -> Iterator[JudgedCorrections]:
    """Judge corrected rows, those of one file, sheet and layout together.

    Args:
        template: As the file was read by.
        day: Partition of the rows.
        extra: Columns of the table for headers that the template does not name.
        rows: Any.
    """
    groups: dict[object, list[CorrectedRow]] = {}
    for item in rows:
        is_1904 = any(kind == _DATE_1904 for _, kind in item.cells)
        layout = tuple((cell.name, cell.column, cell.place) for cell in item.row.layout)
        file, sheet, _ = item.place
        groups.setdefault((file, sheet, layout, is_1904), []).append(item)
    for group in groups.values():
        yield _judge(template, day, extra, group)


def _judge(
    template: SpreadsheetTemplate,
    day: date,
    extra: Mapping[str, str],
    group: Sequence[CorrectedRow],
) -> JudgedCorrections:
    layout = group[0].row.layout
    file, sheet, _ = group[0].place
    header = Header(
        first_row=0,
        last_row=0,
        names={cell.place: cell.name for cell in layout},
        places={cell.column: cell.place for cell in layout if cell.column},
    )
    is_1904 = any(kind == _DATE_1904 for item in group for _, kind in item.cells)
    block = SheetBlock(
        sheet=sheet,
        rows=np.array([item.place[2] for item in group], np.int64),
        hidden=np.zeros(len(group), bool),
        columns={
            cell.place: _column([item.cells[number] for item in group], is_1904=is_1904)
            for number, cell in enumerate(layout)
        },
        is_1904=is_1904,
    )
    judged = Judge(template, header, Arrival(file, day, extra)).judge(block, read_rows=len(group))
    by_row = {item.place[2]: item.dead_letter_id for item in group}
    return JudgedCorrections(
        judged.rows, {by_row[row.row]: row.violations for row in judged.rejected}
    )


def _column(cells: Sequence[_Cell], *, is_1904: bool) -> CellColumn:
    texts, kinds = [], []
    for text, kind in cells:
        found = Kind[kind.removesuffix("_1904").upper()]
        if found is Kind.SERIAL and is_1904 and kind != _DATE_1904:
            # Written into a workbook that counts from 1900, for a file that counts from 1904.
            text, found = shown_given(text, kind), Kind.ISO
        if text in (None, "") and found in (Kind.TEXT, Kind.NUMBER, Kind.ISO):
            found = Kind.EMPTY
        texts.append(text if found is not Kind.EMPTY else None)
        kinds.append(found)
    return CellColumn(pa.array(texts, pa.string()), np.array(kinds, np.uint8))
