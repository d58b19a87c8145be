"""Rejected rows as a person corrects them: the file's own columns, in its order, as text.

Also the way back: which cell means what when the row is judged again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from batch_assets.contracts.batch import SourceCell
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.contracts.personal import MASK
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind
from batch_assets.sources.spreadsheets.column_types import TypeName
from batch_assets.sources.spreadsheets.judge import shown_cell
from batch_assets.sources.spreadsheets.template import ColumnTemplate, SpreadsheetTemplate

# A cell holds 32,767 characters (Excel's limit); a longer text is shown in part, and stays whole
# where it is not touched.
_MOST_CHARACTERS = 32_000


@dataclass(frozen=True, slots=True)
class CorrectableRow:
    """The cells of one dead letter.

    Attributes:
        layout: In the order of the file.
        original: What the file says, by name, as a person sees it.
        shown: The same, or what was last given instead.
    """

    letter: DeadLetter
    layout: tuple[SourceCell, ...]
    original: Mapping[str, str | None]
    shown: Mapping[str, str | None]

    @property
    def blamed(self) -> dict[str, int]:
        """Number of the first violation of each blamed cell, by the file's name."""
        names = self.names_by_column
        found: dict[str, int] = {}
        for number, violation in enumerate(self.letter.violations):
            if violation.column in names:
                found.setdefault(names[violation.column], number)
        return found

    @property
    def personal(self) -> frozenset[str]:
        """Names of cells whose values are masked, where the row is written down."""
        marked = self.letter.personal
        return frozenset(
            cell.name for cell in self.layout if cell.name in marked or cell.column in marked
        )

    def written(self, name: str) -> str | None:
        """The cell as a workbook shows it."""
        text = self.shown.get(name)
        return MASK if text and name in self.personal else text

    @property
    def names_by_column(self) -> dict[str, str]:
        """The file's name of each column of the table."""
        return {cell.column: cell.name for cell in self.layout if cell.column}


def headers_of(layouts: Iterable[Iterable[SourceCell]]) -> dict[str, str]:
    """The name that files give to each column of the table, the first one that is met."""
    found: dict[str, str] = {}
    for layout in layouts:
        for cell in layout:
            if cell.column:
                found.setdefault(cell.column, cell.name)
    return found


def as_correctable(
    letter: DeadLetter, template: SpreadsheetTemplate, headers: Mapping[str, str]
) -> CorrectableRow:
    """A dead letter with its cells.

    Rows that were refused after they were typed (two rows with one key, a constraint of the
    table) are kept by the table's columns; they are shown in the form of their file again.

    Args:
        letter: Of a spreadsheet.
        template: By which it was read.
        headers: The file's name by column of the table.
    """
    layout, original = letter.layout, letter.original
    if not layout:
        layout, original = _from_table(letter, template, headers)
        letter = replace(letter, sheet=letter.sheet or letter.original.get("source_sheet") or "")
    given = {name: shown_given(text, kind) for name, (text, kind) in letter.corrected.items()}
    return CorrectableRow(letter, layout, original, {**original, **given})


def shown_given(text: str | None, kind: str) -> str | None:
    """A cell that a person gave, as a person sees it."""
    is_1904 = kind.endswith("_1904")
    found = Kind[kind.removesuffix("_1904").upper()]
    cells = CellColumn(pa.array([text], pa.string()), np.array([found], np.uint8))
    return shown_cell(cells, 0, is_1904=is_1904)


def fit_cell(text: str | None) -> str:
    """A text as a cell can hold it; empty where there is none."""
    if not text or len(text) <= _MOST_CHARACTERS:
        return text or ""
    return f"{text[:_MOST_CHARACTERS]}… ({len(text)} characters in all)"


def _from_table(
    letter: DeadLetter, template: SpreadsheetTemplate, headers: Mapping[str, str]
) -> tuple[tuple[SourceCell, ...], dict[str, str | None]]:
    cells, shown = [], {}
    columns = {column.name: column for column in template.columns}
    provenance = ("arrival_date", "source_file", "source_sheet", "source_row")
    for place, (name, column) in enumerate(columns.items()):
        header = headers.get(name, column.headers[0])
        cells.append(SourceCell(header, "text", name, None, place))
        shown[header] = _as_file_text(column, letter.original.get(name))
    for name, text in letter.original.items():
        if name not in columns and name not in provenance:
            cells.append(SourceCell(name, "text", "", None, len(cells)))
            shown[name] = text
    return tuple(cells), shown


def _as_file_text(column: ColumnTemplate, text: str | None) -> str | None:
    """A typed value, written so that the template reads the same value again."""
    if text is None:
        return None
    kind = column.column_type
    if kind.name is TypeName.BOOLEAN:
        return (column.true if text.lower() == "true" else column.false)[0]
    if kind.is_scaled and column.decimal_comma:
        return text.replace(".", ",")
    if column.has_zone:
        moment = datetime.fromisoformat(text).astimezone(ZoneInfo(column.time_zone))
        return moment.replace(tzinfo=None).isoformat(sep=" ")
    return text
