"""The workbook that goes back to a person: what was rejected, why, and room to correct it.

Sheets *Summary*, *Fix me* and *Dictionary*. Every value is text and never a formula. It is
written row by row, so that its size does not matter; corrections.py reads it again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batch_assets.contracts.batch import Violation
from batch_assets.sources.spreadsheets.cell_rules import expected_kind
from batch_assets.sources.spreadsheets.column_types import TypeName
from batch_assets.sources.spreadsheets.correctable import CorrectableRow, fit_cell
from batch_assets.sources.spreadsheets.reasons import hint_of, reason_of, rule_words
from batch_assets.sources.spreadsheets.template import ColumnTemplate, SpreadsheetTemplate

if TYPE_CHECKING:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

SUMMARY, FIX_ME, DICTIONARY = "Summary", "Fix me", "Dictionary"
CONTROL = ("_id", "_file", "_sheet", "_row", "_reason", "_hint", "_action", "_note")
"""Columns before those of the file. `_id` ties a row to its dead letter."""

ACTIONS = ("fix", "drop")

# Excel has 1,048,576 rows; what does not fit goes to `Fix me 2`.
_SHEET_ROWS = 1_000_000
# Each comment is a drawing that Excel and the writer hold in memory. Every bad cell is coloured,
# and `_reason` says the same for all rows.
COMMENTED_ROWS = 1_000

# What XML cannot hold, CR, which XML changes, and underscores that would begin an escape
# (ECMA-376 part 1, 22.9.2.19).
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_TEXT_FORMAT = "@"
_EXAMPLES = {
    TypeName.TEXT: "abc",
    TypeName.INTEGER: "12",
    TypeName.DECIMAL: "1234.5",
    TypeName.PERCENT: "12.5 %",
    TypeName.DATE: "2024-09-30",
    TypeName.TIMESTAMP: "2024-09-30 13:05:00",
    TypeName.TIME: "13:05",
}


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """What the first sheet says.

    Attributes:
        facts: Label and value: file, partition, load.
        outcomes: Rows by outcome.
        reasons: Rejected rows by rule.
        advice: What to do with the workbook.
    """

    facts: Sequence[tuple[str, str]]
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    advice: Sequence[str]


def write_error_workbook(
    path: Path,
    summary: ErrorSummary,
    template: SpreadsheetTemplate | None,
    names: Sequence[str],
    rows: Iterable[CorrectableRow],
) -> None:
    """Write the workbook; memory does not grow with the rows.

    Args:
        path: Replaced if it is there.
        summary: For the first sheet.
        template: For the dictionary; None where there is none.
        names: The file's columns, in order.
        rows: What is to be corrected.
    """
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    _write_summary(book, summary)
    _write_rows(book, names, rows)
    if template is not None:
        _write_dictionary(book, template)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Who opens it must never see half of it.
    part = path.with_name(f"{path.name}.part")
    book.save(part)
    part.replace(path)


class _Sheet:
    """One sheet that is appended to; cells are reused, since openpyxl writes them at once."""

    def __init__(self, book: "Workbook", title: str, widths: Sequence[float]) -> None:
        from openpyxl.styles import Alignment
        from openpyxl.utils import get_column_letter

        self.rows = 0
        self.sheet = book.create_sheet(title)
        for number, width in enumerate(widths, 1):
            dimension = self.sheet.column_dimensions[get_column_letter(number)]
            dimension.width = width
            # Cells without a value are text too, once somebody writes into them.
            dimension.number_format = _TEXT_FORMAT
        self.plain = self._cell()
        self.wrapped = self._cell()
        self.wrapped.alignment = Alignment(wrap_text=True, vertical="top")
        self.bold = self._cell(bold=True)
        self.bad = self._cell(fill="FFF4B6B6")
        self.grey = self._cell(fill="FFEDEDED")

    def _cell(self, *, bold: bool = False, fill: str = "") -> "WriteOnlyCell":
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Font, PatternFill

        cell = WriteOnlyCell(self.sheet)
        cell.number_format = _TEXT_FORMAT
        cell.quotePrefix = True
        if bold:
            cell.font = Font(bold=True)
        if fill:
            cell.fill = PatternFill("solid", fgColor=fill)
        return cell

    def commented(self, text: str) -> "WriteOnlyCell":
        """A bad cell that says why."""
        from openpyxl.comments import Comment

        cell = self._cell(fill="FFF4B6B6")
        cell.comment = Comment(_written(text), "batch-assets", width=320, height=120)
        return cell

    def append(self, cells: Iterable[tuple["WriteOnlyCell", str | None]]) -> None:
        """One row, of styles and texts."""
        self.rows += 1
        self.sheet.append(_filled(cells))

    def write(self, *texts: str, style: "WriteOnlyCell | None" = None) -> None:
        """One row in one style."""
        self.append((style or self.plain, text) for text in texts)


def _filled(cells: Iterable[tuple["WriteOnlyCell", str | None]]) -> "Iterator[WriteOnlyCell]":
    for cell, text in cells:
        cell.value = _written(text) if text else None
        if text:
            # Whatever it begins with, it is a text: openpyxl takes `=` for a formula.
            cell.data_type = "s"
        yield cell


def _written(text: str) -> str:
    return _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", fit_cell(text))


def _write_summary(book: "Workbook", summary: ErrorSummary) -> None:
    sheet = _Sheet(book, SUMMARY, (34, 90))
    for label, value in summary.facts:
        sheet.append([(sheet.bold, label), (sheet.plain, value)])
    sheet.write("")
    sheet.write("Rows / 行数", "", style=sheet.bold)
    for label, count in summary.outcomes.items():
        sheet.write(label, str(count))
    sheet.write("")
    sheet.write("Reasons / 原因", "", style=sheet.bold)
    for rule, count in summary.reasons.items():
        sheet.write(rule, f"{count}  {rule_words(rule)}")
    sheet.write("")
    for line in summary.advice:
        sheet.append([(sheet.bold, "What to do / 操作"), (sheet.wrapped, line)])


def _write_rows(book: "Workbook", names: Sequence[str], rows: Iterable[CorrectableRow]) -> None:
    sheet: _Sheet | None = None
    count = 0
    for number, row in enumerate(rows):
        if sheet is None or sheet.rows > _SHEET_ROWS:
            count += 1
            sheet = _open_fix_me(book, FIX_ME if count == 1 else f"{FIX_ME} {count}", names)
        sheet.append(_row_cells(sheet, names, row, is_commented=number < COMMENTED_ROWS))
    if sheet is None:
        _open_fix_me(book, FIX_ME, names)


def _open_fix_me(book: "Workbook", title: str, names: Sequence[str]) -> _Sheet:
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    sheet = _Sheet(book, title, (9, 18, 12, 7, 50, 40, 9, 18, *(18 for _ in names)))
    action = get_column_letter(CONTROL.index("_action") + 1)
    choice = DataValidation(type="list", formula1=f'"{",".join(ACTIONS)}"', allow_blank=True)
    choice.add(f"{action}2:{action}{_SHEET_ROWS + 1}")
    sheet.sheet.data_validations.append(choice)
    sheet.sheet.freeze_panes = "A2"
    sheet.write(*CONTROL, *names, style=sheet.bold)
    return sheet


def _row_cells(
    sheet: _Sheet, names: Sequence[str], row: CorrectableRow, *, is_commented: bool
) -> "Iterator[tuple[WriteOnlyCell, str | None]]":
    letter, blamed = row.letter, row.blamed
    styles = (*[sheet.grey] * 4, *[sheet.wrapped] * 2, *[sheet.plain] * 2)
    yield from zip(styles, control_of(row), strict=True)
    for name in names:
        text = row.written(name)
        if name not in blamed:
            yield sheet.plain, text
        elif is_commented:
            violation = letter.violations[blamed[name]]
            yield sheet.commented(_comment_of(violation, name)), text
        else:
            yield sheet.bad, text


def control_of(row: CorrectableRow) -> list[str]:
    """The values of the columns before those of the file; see CONTROL."""
    letter, by_column = row.letter, row.names_by_column
    named = [(by_column.get(item.column, item.column or "row"), item) for item in letter.violations]
    return [
        str(letter.dead_letter_id),
        letter.source_file,
        letter.sheet,
        str(letter.row),
        "\n".join(reason_of(item, name) for name, item in named),
        "\n".join(dict.fromkeys(hint_of(item) for _, item in named)),
        "fix",
        "",
    ]


def _comment_of(violation: Violation, name: str) -> str:
    return f"{reason_of(violation, name)}\n{hint_of(violation)}"


def _write_dictionary(book: "Workbook", template: SpreadsheetTemplate) -> None:
    sheet = _Sheet(book, DICTIONARY, (24, 24, 50, 12, 40, 24, 40))
    sheet.write(
        "Column / 列",
        "Table column / 数据表列",
        "Expected / 要求",
        "Required / 必填",
        "Allowed / 允许值",
        "Example / 示例",
        "Description / 说明",
        style=sheet.bold,
    )
    for column in template.columns:
        is_required = column.required or column.name in template.key
        sheet.write(
            " | ".join(column.headers),
            column.name,
            f"{column.type}: {expected_kind(column)}",
            "yes / 是" if is_required else "no / 否",
            _allowed_of(column),
            _example_of(column),
            column.description,
        )


def _allowed_of(column: ColumnTemplate) -> str:
    parts = [", ".join(column.allowed)] if column.allowed else []
    parts += [column.pattern] if column.pattern else []
    parts += [f">= {column.min}"] if column.min is not None else []
    parts += [f"<= {column.max}"] if column.max is not None else []
    return "; ".join(parts)


def _example_of(column: ColumnTemplate) -> str:
    if column.allowed:
        return column.allowed[0]
    if column.column_type.name is TypeName.BOOLEAN:
        return column.true[0]
    example = _EXAMPLES[column.column_type.name]
    return example.replace(".", ",") if column.decimal_comma else example
