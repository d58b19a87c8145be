"""Merged cells: the value of the first one, repeated in the others where a template wants it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.spreadsheets.cells import (
    CellColumn,
    Kind,
    PythonCell,
    SheetBlock,
)

_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
_READ_BYTES = 1024 * 1024
_LONGEST_TAG = 256


@dataclass(frozen=True, slots=True)
class MergedRange:
    """Merged cells: 1-based rows and 0-based columns, both ends inside."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int


def read_merged(stream: IO[bytes]) -> list[MergedRange]:
    """Merged cells of a sheet of an xlsx file; they stand behind its rows."""
    found: dict[tuple[bytes, ...], MergedRange] = {}
    held = b""
    with stream:
        while chunk := stream.read(_READ_BYTES):
            held = held[-_LONGEST_TAG:] + chunk
            for match in _MERGED.finditer(held):
                left, top, right, bottom = match.groups()
                found[match.groups()] = MergedRange(
                    int(top), int(bottom), _column(left), _column(right)
                )
    return list(found.values())


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def fill_ranges(
    blocks: Iterable[SheetBlock], ranges: Iterable[MergedRange]
) -> Iterator[SheetBlock]:
    """Blocks in which every merged cell has the value of the first one."""
    open_ranges = sorted(ranges, key=lambda merged: merged.first_row)
    values: dict[MergedRange, PythonCell] = {}
    for block in blocks:
        if not len(block):
            continue
        last = int(block.rows[-1])
        concerned = [merged for merged in open_ranges if merged.first_row <= last]
        open_ranges = [merged for merged in open_ranges if merged.last_row > last]
        for merged in concerned:
            block = _fill(block, merged, values)
        yield block


def _fill(
    block: SheetBlock, merged: MergedRange, values: dict[MergedRange, PythonCell]
) -> SheetBlock:
    inside = (block.rows >= merged.first_row) & (block.rows <= merged.last_row)
    indices = np.flatnonzero(inside)
    if not len(indices):
        return block
    if merged not in values:
        first = block.column(merged.first_column)
        is_there = block.rows[indices[0]] == merged.first_row
        values[merged] = (
            (first.texts[int(indices[0])].as_py(), Kind(first.kinds[indices[0]]))
            if is_there
            else (None, Kind.EMPTY)
        )
    text, kind = values[merged]
    columns = dict(block.columns)
    for place in range(merged.first_column, merged.last_column + 1):
        if kind is not Kind.EMPTY:
            columns[place] = _with_value(block.column(place), inside, text, kind)
    return SheetBlock(block.sheet, block.rows, block.hidden, columns, block.is_1904)


def _with_value(cells: CellColumn, inside: np.ndarray, text: str | None, kind: Kind) -> CellColumn:
    empty = inside & (cells.kinds == Kind.EMPTY)
    kinds = cells.kinds.copy()
    kinds[empty] = kind
    return CellColumn(
        pc.if_else(pa.array(empty), pa.scalar(text, pa.string()), cells.texts), kinds, cells.pads
    )
