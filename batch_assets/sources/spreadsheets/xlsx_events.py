"""The XML of a sheet to cells, event by event: slower than xlsx_scan.py, and for every form.

Namespaced prefixes, cells without a reference, rich text in the cell, comments, other encodings.
"""

import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import (
    Kind,
    PythonCell,
    SheetBlock,
    blocks_of_rows,
    number_text,
)
from batch_assets.sources.spreadsheets.xlsx_scan import Workbook
from batch_assets.sources.spreadsheets.xlsx_strings import text_of
from batch_assets.sources.spreadsheets.xlsx_text import decode_escapes

_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")
_NOTHING: PythonCell = (None, Kind.EMPTY)
_Row = tuple[int, bool, Sequence[PythonCell]]


def read_sheet_events(
    stream: IO[bytes], sheet: str, workbook: Workbook, file: str
) -> Iterator[SheetBlock]:
    """Read a sheet.

    Raises:
        UnreadableSource: The XML ends too early or is not well formed.
    """
    yield from blocks_of_rows(
        sheet, _rows(stream, workbook, f"{file}: sheet {sheet!r}"), is_1904=workbook.is_1904
    )


def _rows(stream: IO[bytes], workbook: Workbook, place: str) -> Iterator[_Row]:
    from lxml import etree

    number = 0
    try:
        events = etree.iterparse(
            stream,
            events=("end",),
            tag="{*}row",
            resolve_entities=False,
            no_network=True,
            huge_tree=True,
        )
        for _, element in events:
            number = int(element.get("r") or number + 1)
            hidden = element.get("hidden", "0") in ("1", "true")
            yield number, hidden, _cells(element, workbook)
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableSource(
            f"{place} cannot be read after row {number}: {error}; the file is cut off or damaged, "
            "save it again in a spreadsheet program"
        ) from error


def _cells(row: Any, workbook: Workbook) -> list[PythonCell]:
    cells: list[PythonCell] = []
    for element in row:
        if not isinstance(element.tag, str) or element.tag.rpartition("}")[2] != "c":
            continue
        place = _place(element.get("r"), len(cells))
        while len(cells) < place:
            cells.append(_NOTHING)
        value = _cell(element, workbook)
        if place < len(cells):
            cells[place] = value
        else:
            cells.append(value)
    return cells


def _place(reference: str | None, following: int) -> int:
    match = _REFERENCE.fullmatch(reference or "")
    if match is None:
        return following
    column = 0
    for letter in match[1].upper():
        column = column * 26 + ord(letter) - 64
    return column - 1


def _cell(element: Any, workbook: Workbook) -> PythonCell:
    value, has_formula = None, False
    for child in element:
        name = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else ""
        if name == "v":
            value = "".join(child.itertext())
        elif name == "is":
            value = text_of(child)
        elif name == "f":
            has_formula = True
    if not value:
        return (None, Kind.UNCALCULATED if has_formula else Kind.EMPTY)
    return _typed(value, element.get("t", ""), element.get("s", "0"), workbook)


def _typed(value: str, cell_type: str, style: str, workbook: Workbook) -> PythonCell:
    if cell_type == "s":
        index = int(value)
        if not 0 <= index < len(workbook.strings):
            raise ValueError(f"there is no shared string {index}")
        text = workbook.strings[index].as_py()
        return (text, Kind.TEXT) if text else _NOTHING
    kind = workbook.kind_of(cell_type, int(style)) or Kind.TEXT
    if kind is Kind.NUMBER:
        pad = workbook.pad_of(int(style))
        # A format that shows leading zeros makes them part of what a person sees.
        return (value, kind) if not pad else (_padded(value, pad), Kind.TEXT)
    return (decode_escapes(value) if kind is Kind.TEXT else value), kind


def _padded(value: str, pad: int) -> str:
    return number_text(float(value)).zfill(pad)
