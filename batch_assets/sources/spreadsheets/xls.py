"""Sheets of .xls files (BIFF). They have at most 65,536 rows, so a whole sheet is held.

xlrd gives every cell as it is, errors included, where calamine gives empty ones; calamine opens
some damaged files that xlrd refuses.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from batch_assets.sources.spreadsheets.cells import (
    Kind,
    PythonCell,
    SheetBlock,
    blocks_of_rows,
    number_text,
)
from batch_assets.sources.spreadsheets.merged import MergedRange, fill_ranges
from batch_assets.sources.spreadsheets.preflight import refuse_password
from batch_assets.sources.spreadsheets.rust_reader import read_with_calamine

_Sheets = Iterator[tuple[str, bool, Iterator[SheetBlock]]]
_EMPTY: PythonCell = (None, Kind.EMPTY)


class _Silent:
    """Where xlrd writes its remarks."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is held."""


def read_xls(path: Path, file: str, *, fill_merged: bool = False) -> _Sheets:
    """Sheets with name, whether hidden, and blocks.

    Raises:
        UnreadableSource: Neither reader can open the file.
    """
    import xlrd
    from xlrd.compdoc import CompDocError

    try:
        book = xlrd.open_workbook(
            str(path), formatting_info=True, ragged_rows=True, on_demand=True, logfile=_Silent()
        )
        sheets = [book.sheet_by_index(index) for index in range(book.nsheets)]
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            refuse_password(file)
        yield from read_with_calamine(path, file)
        return
    except (CompDocError, AssertionError, LookupError, ValueError, struct.error, TypeError):
        # Damaged in one of the many ways in which xlrd gives up.
        yield from read_with_calamine(path, file)
        return
    for sheet in sheets:
        blocks = blocks_of_rows(sheet.name, _rows(sheet), is_1904=bool(book.datemode))
        if fill_merged:
            blocks = fill_ranges(blocks, _merged(sheet))
        yield sheet.name, bool(sheet.visibility), blocks


def _rows(sheet: Any) -> Iterator[tuple[int, bool, list[PythonCell]]]:
    for index in range(sheet.nrows):
        info = sheet.rowinfo_map.get(index)
        cells = [
            _cell(kind, value)
            for kind, value in zip(sheet.row_types(index), sheet.row_values(index), strict=True)
        ]
        yield index + 1, bool(info is not None and info.hidden), cells


def _cell(kind: int, value: Any) -> PythonCell:
    import xlrd

    match kind:
        case xlrd.XL_CELL_TEXT:
            return (value, Kind.TEXT) if value else _EMPTY
        case xlrd.XL_CELL_NUMBER:
            return number_text(value), Kind.NUMBER
        case xlrd.XL_CELL_DATE:
            return number_text(value), Kind.SERIAL
        case xlrd.XL_CELL_BOOLEAN:
            return ("1" if value else "0"), Kind.BOOLEAN
        case xlrd.XL_CELL_ERROR:
            return xlrd.error_text_from_code.get(value, "#ERROR!"), Kind.ERROR
        case _:
            return _EMPTY


def _merged(sheet: Any) -> list[MergedRange]:
    return [
        MergedRange(first_row + 1, after_row, first_column, after_column - 1)
        for first_row, after_row, first_column, after_column in sheet.merged_cells
    ]
