"""Cells as every reader of spreadsheets gives them: text and kind, column by column.

A reader neither guesses nor loses anything: a number keeps the digits of the file, an error cell
stays an error cell. What a cell means for a column is decided in cell_types.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_ROWS = 8_192
"""Rows of a block, at most, from readers that hold a whole sheet."""


class Kind(IntEnum):
    """What the file says a cell is.

    SERIAL is a number whose format shows a date, time or duration; its text is the serial number.
    ISO is a date written as text by the format itself (ods, ISO cells of xlsx).
    UNCALCULATED is a formula that was saved without a result.
    """

    EMPTY = 0
    TEXT = 1
    NUMBER = 2
    BOOLEAN = 3
    SERIAL = 4
    ISO = 5
    ERROR = 6
    UNCALCULATED = 7


KINDS = len(Kind)


@dataclass(frozen=True, slots=True)
class CellColumn:
    """One column of a block.

    Attributes:
        texts: Text of each cell, null where the cell is empty. Numbers in digits, booleans as
            `1` and `0`, errors by their name (`#N/A`).
        kinds: `Kind` of each cell, uint8.
        pads: Digits to which the cell's format fills a number with zeros (`00000`), uint8; None
            where no cell has such a format.
    """

    texts: pa.Array
    kinds: np.ndarray
    pads: np.ndarray | None = None

    def count(self) -> np.ndarray:
        """Cells of each kind, indexed by `Kind`."""
        return np.bincount(self.kinds, minlength=KINDS)

    def filter(self, mask: np.ndarray) -> "CellColumn":
        """The cells of chosen rows."""
        return CellColumn(
            self.texts.filter(pa.array(mask)),
            self.kinds[mask],
            None if self.pads is None else self.pads[mask],
        )


@dataclass(frozen=True, slots=True)
class SheetBlock:
    """Some rows of one sheet, in order.

    Attributes:
        sheet: Name of the sheet; empty for delimited text.
        rows: 1-based row (line, for delimited text) of each, int64.
        hidden: Which rows are hidden by hand or by a filter.
        columns: Cells by 0-based column; columns without a cell are absent.
        is_1904: Whether serial numbers count from 1904.
    """

    sheet: str
    rows: np.ndarray
    hidden: np.ndarray
    columns: dict[int, CellColumn] = field(default_factory=dict)
    is_1904: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, index: int) -> CellColumn:
        """One column, of empty cells where the block has none."""
        return self.columns.get(index) or empty_column(len(self))

    def row_texts(self, index: int) -> dict[int, str]:
        """Text of the cells of one row by column, empty ones left out."""
        texts = {place: cells.texts[index].as_py() for place, cells in self.columns.items()}
        return {place: text for place, text in sorted(texts.items()) if text}

    def filter(self, mask: np.ndarray) -> "SheetBlock":
        """Chosen rows."""
        if mask.all():
            return self
        columns = {place: cells.filter(mask) for place, cells in self.columns.items()}
        return SheetBlock(self.sheet, self.rows[mask], self.hidden[mask], columns, self.is_1904)

    def filled(self) -> np.ndarray:
        """Which rows have a cell that is not empty."""
        found = np.zeros(len(self), bool)
        for cells in self.columns.values():
            found |= cells.kinds != Kind.EMPTY
        return found


def empty_column(count: int) -> CellColumn:
    """A column of empty cells."""
    return CellColumn(pa.nulls(count, pa.string()), np.zeros(count, np.uint8))


def column_letters(index: int) -> str:
    """Letters of a 0-based column: A, Z, AA, XFD."""
    letters = ""
    number = index + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


PythonCell = tuple[str | None, Kind]


def blocks_of_rows(
    sheet: str,
    rows: Iterator[tuple[int, bool, Sequence[PythonCell]]],
    *,
    is_1904: bool = False,
) -> Iterator[SheetBlock]:
    """Blocks of cells that were read one by one.

    Args:
        sheet: Name of the sheet.
        rows: 1-based number, whether hidden, and the cells from column 0 on.
        is_1904: Whether serial numbers count from 1904.
    """
    held: list[tuple[int, bool, Sequence[PythonCell]]] = []
    for row in rows:
        held.append(row)
        if len(held) == BLOCK_ROWS:
            yield _block_of(sheet, held, is_1904)
            held = []
    if held:
        yield _block_of(sheet, held, is_1904)


def _block_of(
    sheet: str, rows: list[tuple[int, bool, Sequence[PythonCell]]], is_1904: bool
) -> SheetBlock:
    width = max(len(cells) for _, _, cells in rows)
    nothing: PythonCell = (None, Kind.EMPTY)
    columns = {}
    for place in range(width):
        column = [cells[place] if place < len(cells) else nothing for _, _, cells in rows]
        kinds = np.array([kind for _, kind in column], np.uint8)
        if kinds.any():
            columns[place] = CellColumn(pa.array([t for t, _ in column], pa.string()), kinds)
    return SheetBlock(
        sheet,
        np.array([number for number, _, _ in rows], np.int64),
        np.array([hidden for _, hidden, _ in rows], bool),
        columns,
        is_1904,
    )


def number_text(value: float) -> str:
    """Digits of a binary number: whole numbers without a point, others in their shortest form."""
    whole = int(value) if value == value and abs(value) < 1e15 else None
    return str(whole) if whole is not None and whole == value else repr(value)


def cell_of(value: object) -> PythonCell:
    """Text and kind of a Python value, as libraries give them."""
    match value:
        case None | "":
            return None, Kind.EMPTY
        case bool():
            return ("1" if value else "0"), Kind.BOOLEAN
        case int() | float():
            return number_text(value), Kind.NUMBER
        case datetime():
            return value.isoformat(sep=" "), Kind.ISO
        case date() | time():
            return value.isoformat(), Kind.ISO
        case timedelta():
            return str(value), Kind.ISO
        case _:
            return str(value), Kind.TEXT


def take_texts(texts: pa.Array, indices: np.ndarray) -> pa.Array:
    """Texts at indices; null at -1."""
    missing = indices < 0
    chosen = pa.array(indices, mask=missing) if missing.any() else pa.array(indices)
    return pc.take(texts, chosen)
