"""The XML of a sheet to cells, whole blocks at a time and without a step of Python per cell.

Sheets written by the usual programs are regular: `<row r="2"><c r="A2" s="1" t="s"><v>0</v></c>`.
Positions of tags are found with numpy, values become Arrow text without being copied one by one.
Whatever is not of that form makes `scan_rows` answer None, and the block is read event by event
(xlsx_events.py), which is slower and knows all of the format (ECMA-376 part 1, 18.3.1).
"""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.spreadsheets.cells import CellColumn, Kind, SheetBlock, take_texts
from batch_assets.sources.spreadsheets.xlsx_text import decode_all, unescape

_LT, _GT, _QUOTE = ord("<"), ord(">"), ord('"')
_MAX_COLUMN_LETTERS = 3
_MAX_COLUMNS = 16_384
_ATTRIBUTE = re.compile(r'\s(\w[\w:.]*)="([^"]*)"')
_KIND_OF_TYPE = {
    "": Kind.NUMBER,
    "n": Kind.NUMBER,
    "s": Kind.TEXT,
    "str": Kind.TEXT,
    "inlineStr": Kind.TEXT,
    "b": Kind.BOOLEAN,
    "e": Kind.ERROR,
    "d": Kind.ISO,
}


@dataclass(frozen=True, slots=True)
class Workbook:
    """What all sheets of an xlsx file share.

    Attributes:
        strings: Shared strings.
        is_date: By style, whether numbers are shown as a date or time.
        pads: By style, digits that numbers are filled to with zeros (`00000` is 5), uint8.
        is_1904: Whether serial numbers count from 1904.
    """

    strings: pa.Array
    is_date: np.ndarray
    pads: np.ndarray
    is_1904: bool = False

    def kind_of(self, cell_type: str, style: int) -> Kind | None:
        """Kind of a cell that has a value; None for a type that is not known."""
        kind = _KIND_OF_TYPE.get(cell_type)
        if kind is Kind.NUMBER and style < len(self.is_date) and self.is_date[style]:
            return Kind.SERIAL
        return kind

    def pad_of(self, style: int) -> int:
        """Digits that a number of this style is filled to."""
        return int(self.pads[style]) if style < len(self.pads) else 0


@dataclass(frozen=True, slots=True)
class _Tags:
    """Starts of the tags of a block, by name."""

    starts: np.ndarray
    ends: np.ndarray
    second: np.ndarray
    third: np.ndarray

    def named(self, name: str) -> np.ndarray:
        """Which tags open an element with a name of one letter."""
        named: np.ndarray = (self.second == ord(name)) & (
            (self.third == ord(" ")) | (self.third == _GT) | (self.third == ord("/"))
        )
        return named


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of a block in file order."""

    rows: np.ndarray
    columns: np.ndarray
    kinds: np.ndarray
    pads: np.ndarray
    texts: pa.Array


def scan_rows(data: bytes, sheet: str, workbook: Workbook) -> SheetBlock | None:
    """Read whole `<row>` elements.

    Returns:
        The block, or None where the text is not of the regular form.
    """
    padded = data + b"   "
    buffer = np.frombuffer(padded, np.uint8)
    tags = _find_tags(buffer, len(data))
    is_row = (tags.second == ord("r")) & (tags.third == ord("o"))
    if not is_row.any() or (tags.second == ord("!")).any() or (tags.second == ord("?")).any():
        return None
    found = _read_row_tags(padded, tags, is_row)
    if found is None:
        return None
    numbers, hidden = found
    cells = _read_cells(padded, buffer, tags, is_row, workbook)
    if cells is None:
        return None
    columns = _by_column(cells, len(numbers))
    return SheetBlock(sheet, numbers, hidden, columns, workbook.is_1904)


def _find_tags(buffer: np.ndarray, length: int) -> _Tags:
    starts = np.flatnonzero(buffer[:length] == _LT)
    second = buffer[starts + 1]
    opening = second != ord("/")
    ends = np.empty(len(starts), np.int64)
    ends[:-1] = starts[1:]
    ends[-1:] = length
    # Where the next tag begins is all that is needed of closing tags.
    return _Tags(starts[opening], ends[opening], second[opening], buffer[starts[opening] + 2])


def _slices(data: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """Text between positions that do not overlap and only rise."""
    offsets = np.empty(2 * len(starts) + 1, np.int32)
    offsets[0:-1:2] = starts
    offsets[1::2] = ends
    offsets[-1] = ends[-1] if len(ends) else 0
    both = pa.Array.from_buffers(
        pa.string(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    return both.take(pa.array(np.arange(0, 2 * len(starts), 2)))


def _tag_ends(buffer: np.ndarray, tags: _Tags, chosen: np.ndarray) -> np.ndarray | None:
    """Position of the `>` that closes each chosen tag; None where one has none."""
    closers = np.flatnonzero(buffer == _GT)
    starts = tags.starts[chosen]
    places = np.searchsorted(closers, starts)
    if len(places) and places[-1] >= len(closers):
        return None
    found = closers[places]
    return found if bool((found < tags.ends[chosen]).all()) else None


def _read_row_tags(
    data: bytes, tags: _Tags, is_row: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    heads = _slices(data, tags.starts[is_row], tags.ends[is_row])
    numbers = pc.struct_field(pc.extract_regex(heads, r'\sr="(?P<r>\d{1,7})"'), "r")
    if numbers.null_count:
        return None
    hidden = pc.match_substring_regex(heads, r'\shidden="(1|true)"')
    return (
        numbers.cast(pa.int64()).to_numpy(zero_copy_only=False),
        np.asarray(hidden.to_numpy(zero_copy_only=False), bool),
    )


def _read_cells(
    data: bytes, buffer: np.ndarray, tags: _Tags, is_row: np.ndarray, workbook: Workbook
) -> _Cells | None:
    is_cell = tags.named("c")
    heads_end = _tag_ends(buffer, tags, is_cell)
    starts = tags.starts[is_cell]
    if heads_end is None:
        return None
    places = _column_places(buffer, starts)
    if places is None:
        return None
    columns, rest_starts = places
    rests = _slices(data, rest_starts, heads_end).dictionary_encode()
    kinds_of_rest, styles_of_rest, shared = _parse_heads(rests.dictionary.to_pylist(), workbook)
    if kinds_of_rest is None:
        return None
    codes = rests.indices.to_numpy()
    values = _cell_texts(data, buffer, tags, is_cell, len(starts))
    if values is None:
        return None
    texts, has_value, has_formula = values
    kinds = np.where(
        has_value, kinds_of_rest[codes], np.where(has_formula, Kind.UNCALCULATED, Kind.EMPTY)
    ).astype(np.uint8)
    is_shared = shared[codes] & has_value
    if is_shared.any():
        chosen = _share(texts, is_shared, workbook.strings)
        if chosen is None:
            return None
        texts = chosen
        # A shared string may be empty, and then the cell is.
        is_empty = pc.fill_null(pc.equal(pc.binary_length(texts), 0), True)
        kinds[is_shared & np.asarray(is_empty)] = Kind.EMPTY
    pads = np.zeros(len(starts), np.uint8)
    if workbook.pads.any():
        pads = workbook.pads[np.minimum(styles_of_rest[codes], len(workbook.pads) - 1)]
    return _Cells(np.cumsum(is_row)[is_cell] - 1, columns, kinds, pads, texts)


def _column_places(buffer: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """0-based column of each cell, and where its head goes on after the reference."""
    for offset, character in enumerate(b'<c r="'):
        if not (buffer[starts + offset] == character).all():
            return None
    place = starts + 6
    column = np.zeros(len(starts), np.int64)
    for _ in range(_MAX_COLUMN_LETTERS):
        letter = buffer[place]
        is_letter = (letter >= ord("A")) & (letter <= ord("Z"))
        column = np.where(is_letter, column * 26 + letter - 64, column)
        place = place + is_letter
        if not is_letter.any():
            break
    # A row has at most seven digits.
    for _ in range(8):
        digit = buffer[place]
        is_digit = (digit >= ord("0")) & (digit <= ord("9"))
        place = place + is_digit
        if not is_digit.any():
            break
    if not (buffer[place] == _QUOTE).all() or (column < 1).any() or (column > _MAX_COLUMNS).any():
        return None
    return column - 1, place + 1


def _parse_heads(
    rests: list[str], workbook: Workbook
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Kind, style and whether shared, of each distinct rest of a head; kinds None if irregular."""
    kinds = np.zeros(len(rests), np.uint8)
    styles = np.zeros(len(rests), np.int64)
    shared = np.zeros(len(rests), bool)
    for index, rest in enumerate(rests):
        attributes = dict(_ATTRIBUTE.findall(rest))
        if _ATTRIBUTE.sub("", rest).strip() not in ("", "/"):
            return None, styles, shared
        style = attributes.get("s", "0")
        kind = workbook.kind_of(attributes.get("t", ""), int(style)) if style.isdigit() else None
        if kind is None:
            return None, styles, shared
        kinds[index], styles[index], shared[index] = kind, int(style), attributes.get("t") == "s"
    return kinds, styles, shared


def _cell_texts(
    data: bytes, buffer: np.ndarray, tags: _Tags, is_cell: np.ndarray, count: int
) -> tuple[pa.Array, np.ndarray, np.ndarray] | None:
    """Text of each cell, whether it has one, and whether it has a formula."""
    is_value, is_formula = tags.named("v"), tags.named("f")
    is_text = tags.named("t")
    # Rich text, phonetic text and extensions take the slow way.
    known = is_cell | is_value | is_formula | is_text
    inline = (tags.second == ord("i")) & (tags.third == ord("s"))
    others = ~(known | inline)
    if int(others.sum()) != int(((tags.second == ord("r")) & (tags.third == ord("o"))).sum()):
        return None
    holds = is_value | is_text
    cell_of = np.cumsum(is_cell) - 1
    owners = cell_of[holds]
    if len(owners) and (owners[0] < 0 or (np.diff(owners) == 0).any()):
        return None
    content_starts = _tag_ends(buffer, tags, holds)
    if content_starts is None:
        return None
    # An element that closes itself (<v/>) has no text.
    is_closed = buffer[content_starts - 1] == ord("/")
    pieces = _slices(data, np.minimum(content_starts + 1, tags.ends[holds]), tags.ends[holds])
    if b"&" in data:
        pieces = unescape(pieces)
    if b"_x" in data:
        pieces = decode_all(pieces)
    has_formula = np.zeros(count, bool)
    has_formula[cell_of[is_formula]] = True
    places = np.full(count, -1, np.int64)
    places[owners] = np.arange(len(owners))
    has_value = np.zeros(count, bool)
    lengths = pc.binary_length(pieces).to_numpy(zero_copy_only=False)
    has_value[owners] = ~is_closed & (lengths > 0)
    places[~has_value] = -1
    texts = pieces if len(owners) == count and has_value.all() else take_texts(pieces, places)
    return texts, has_value, has_formula


def _share(texts: pa.Array, is_shared: np.ndarray, strings: pa.Array) -> pa.Array | None:
    """Put shared strings in the place of their numbers."""
    try:
        numbers = texts.filter(pa.array(is_shared)).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(strings)):
        return None
    shared = pc.take(strings, pa.array(numbers))
    return pc.replace_with_mask(texts, pa.array(is_shared), shared)


def _by_column(cells: _Cells, row_count: int) -> dict[int, CellColumn]:
    order = np.argsort(cells.columns, kind="stable")
    sorted_columns = cells.columns[order]
    borders = np.flatnonzero(np.diff(sorted_columns)) + 1
    columns: dict[int, CellColumn] = {}
    for group in np.split(order, borders):
        if not len(group):
            continue
        rows = cells.rows[group]
        kinds = np.zeros(row_count, np.uint8)
        kinds[rows] = cells.kinds[group]
        if not kinds.any():
            continue
        places = np.full(row_count, -1, np.int64)
        places[rows] = group
        pads = None
        if cells.pads[group].any():
            pads = np.zeros(row_count, np.uint8)
            pads[rows] = cells.pads[group]
        columns[int(cells.columns[group[0]])] = CellColumn(
            take_texts(cells.texts, places), kinds, pads
        )
    return columns
