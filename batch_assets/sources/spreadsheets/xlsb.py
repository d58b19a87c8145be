"""Sheets of .xlsb files: values through calamine, error cells from the records themselves.

Source of record numbers: [MS-XLSB] 2.3.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

from batch_assets.sources.spreadsheets.cells import SheetBlock
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets.sources.spreadsheets.rust_reader import read_with_calamine

_ROW_HEADER, _CELL_ERROR, _FORMULA_ERROR, _BUNDLE_SHEET = 0, 3, 11, 156
_FIRST_CELL, _LAST_CELL = 1, 11
_ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
# calamine makes room for the whole rectangle, at about 32 bytes a cell.
MAX_EXTENT_CELLS = 30_000_000


def read_xlsb(path: Path, file: str) -> Iterator[tuple[str, bool, Iterator[SheetBlock]]]:
    """Sheets with name, whether hidden, and blocks.

    Raises:
        FileRefused: The file is damaged, or its used range is too large to be held.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            errors = {
                name: _scan(archive.read(part), f"{file}, sheet {name!r}")
                for name, part in _sheet_parts(archive)
            }
    except (KeyError, struct.error, IndexError, zipfile.BadZipFile) as error:
        raise FileRefused(
            f"{file}: the workbook is damaged ({error}), expected whole records; save it again in "
            "a spreadsheet program",
            Refusal.CORRUPT,
        ) from error
    yield from read_with_calamine(path, file, errors)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        kind, place = data[place], place + 1
        if kind & 0x80:
            kind, place = (kind & 0x7F) | (data[place] << 7), place + 1
        size = shift = 0
        while True:
            byte, place = data[place], place + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield kind, data[place : place + size]
        place += size


def _sheet_parts(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    from defusedxml.ElementTree import fromstring

    relations = fromstring(archive.read("xl/_rels/workbook.bin.rels"))
    targets = {element.get("Id"): element.get("Target", "") for element in relations}
    for kind, record in _records(archive.read("xl/workbook.bin")):
        if kind != _BUNDLE_SHEET:
            continue
        identity, place = _wide_text(record, 8)
        name, _ = _wide_text(record, place)
        target = targets.get(identity, "")
        part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
        if "worksheets/" in part:
            yield name, part


def _wide_text(record: bytes, place: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", record, place)
    end = place + 4 + 2 * length
    return record[place + 4 : end].decode("utf-16-le", "replace"), end


def _scan(data: bytes, place: str) -> dict[tuple[int, int], str]:
    """Error cells of a sheet; refuses a sheet whose used range is too large."""
    errors: dict[tuple[int, int], str] = {}
    row = last_row = last_column = 0
    for kind, record in _records(data):
        if kind == _ROW_HEADER:
            (row,) = struct.unpack_from("<I", record)
        elif _FIRST_CELL <= kind <= _LAST_CELL and len(record) >= 8:
            (column,) = struct.unpack_from("<I", record)
            last_row, last_column = max(last_row, row), max(last_column, column)
            if kind in (_CELL_ERROR, _FORMULA_ERROR):
                errors[row + 1, column] = _ERRORS.get(record[8], "#ERROR!")
    if (last_row + 1) * (last_column + 1) > MAX_EXTENT_CELLS:
        raise FileRefused(
            f"{place}: its cells lie in a range of {last_row + 1:,} rows and {last_column + 1:,} "
            f"columns, allowed are {MAX_EXTENT_CELLS:,} cells; delete stray cells far from the "
            "table, or save it as .xlsx",
            Refusal.TOO_LARGE,
        )
    return errors
