"""What flows from a source to the loading core: Arrow rows with their places, and rejected rows.

A source never decides what happens to a row; it types what it can, and hands over the rest with
the reason. Rules about typed rows are in `rules.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

Original = Mapping[str, str | None]
"""The values of one row as the source wrote them, by the source's column names."""

Position = Mapping[str, int | str]
"""How far a source has been read, in its own terms; kept in checkpoints, so JSON."""

POSITION_SCHEMA = pa.schema(
    [
        pa.field("file", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
"""Where each row came from: file (relative to the feed's folder) and 1-based line or row."""

SHEET_FIELD = pa.field("sheet", pa.dictionary(pa.int32(), pa.string()), nullable=False)
"""A third column of positions, of sources whose files have sheets."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with one row.

    Attributes:
        rule: Name of the rule, from a closed set; reports group by it.
        column: The column blamed, as the target names it; empty if the whole row is.
        observed: The value seen, as text.
        expected: What the rule allows, in words.
        hint: What a person does next.
        cell: Where a spreadsheet has the value (`C17`); empty for other sources.
    """

    rule: str
    column: str
    observed: str | None
    expected: str
    hint: str = ""
    cell: str = ""


@dataclass(frozen=True, slots=True)
class SourceCell:
    """How the source wrote one value of a rejected row, where its text alone does not say.

    Attributes:
        name: The value's name in `RejectedRow.original`.
        kind: What the source says it is (`number`, `serial`), by the source's own words.
        column: The column of the target that it is meant for; empty if it is for none.
        raw: The text before it was made readable; None where they are the same.
        place: 0-based column in the source.
    """

    name: str
    kind: str
    column: str
    raw: str | None
    place: int


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not loaded, with everything needed to explain, correct and replay it.

    Attributes:
        file: File it came from, relative to the feed's folder.
        row: 1-based line or row number in that file.
        violations: At least one.
        original: The row's values before any parsing.
        window_value: Value of the window column where it could be read, else None.
        sheet: Sheet of a workbook; empty for other sources.
        layout: The values in the order of the source, of sources whose rows can be corrected and
            read again one by one.
    """

    file: str
    row: int
    violations: tuple[Violation, ...]
    original: Original
    window_value: date | None = None
    sheet: str = ""
    layout: tuple[SourceCell, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """A piece of a source: what the reader counted, what was typed, what was not.

    Attributes:
        read_rows: Rows the reader saw in the source, counted by the reader alone; the core
            checks that rows + rejected + skipped_rows come to the same.
        rows: Typed rows with exactly the content columns of the contract, in its order.
        positions: One row per row of `rows`, POSITION_SCHEMA, and SHEET_FIELD where there are
            sheets.
        rejected: Rows that could not be typed.
        skipped_rows: Rows left out on purpose (another symbol, an unchanged document).
        originals: Gives the original values of rows of this batch by their index in `rows`;
            called only for rows that break a rule.
        resume_after: Opaque position; a source that can resume starts after it.
        layout: The names of `originals` in the order of the source, where its rows can be
            corrected and read again one by one.
    """

    read_rows: int
    rows: pa.RecordBatch
    positions: pa.RecordBatch
    originals: Callable[[Sequence[int]], list[Original]]
    rejected: tuple[RejectedRow, ...] = ()
    skipped_rows: int = 0
    resume_after: Mapping[str, int | str] = field(default_factory=dict)
    layout: tuple[SourceCell, ...] = ()


def place_of(positions: pa.RecordBatch | pa.Table, index: int) -> tuple[str, str, int]:
    """File, sheet and row of one row; the sheet is empty where sources have none."""
    sheet = positions.column("sheet")[index].as_py() if "sheet" in positions.schema.names else ""
    return positions.column("file")[index].as_py(), sheet, positions.column("row")[index].as_py()
