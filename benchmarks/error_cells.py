"""Error cells of real workbooks, cell by cell: those that openpyxl sees and our reader does not."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import openpyxl

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.cells import Kind
from batch_assets.sources.spreadsheets.formats import ReadOptions, open_sheets

SHARED_WORKBOOKS = Path(__file__).resolve().parents[2] / "shared" / "data" / "documents" / "files"


@dataclass(frozen=True, slots=True)
class ErrorCells:
    """What was compared.

    Attributes:
        workbooks: Workbooks that openpyxl reads.
        seen: Error cells that openpyxl sees in them.
        lost: Those that our reader does not give as the same error.
        refused: Workbooks that openpyxl does not open.
    """

    workbooks: int
    seen: int
    lost: int
    refused: int


def compare_error_cells(folder: Path) -> ErrorCells:
    """Compare every .xlsx file of a folder; openpyxl reads no other format."""
    workbooks = seen = lost = refused = 0
    for path in sorted(folder.glob("*.xlsx")):
        try:
            theirs = _their_errors(path)
        except (KeyError, ValueError, OSError, BadZipFile):
            refused += 1
            continue
        try:
            ours = _our_errors(path)
        except UnreadableSource:
            # What we refuse, we lose.
            ours = set()
        workbooks += 1
        seen += len(theirs)
        lost += len(theirs - ours)
    return ErrorCells(workbooks, seen, lost, refused)


_Place = tuple[str, int, int, Any]


def _our_errors(path: Path) -> set[_Place]:
    return {
        (sheet.name, int(block.rows[index]), place + 1, cells.texts[index].as_py())
        for sheet in open_sheets(path, path.name, ReadOptions())
        for block in sheet.blocks
        for place, cells in block.columns.items()
        for index in (cells.kinds == Kind.ERROR).nonzero()[0].tolist()
    }


def _their_errors(path: Path) -> set[_Place]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(path, data_only=True)
    return {
        (sheet.title, cell.row, cell.column, cell.value)
        for sheet in book.worksheets
        for row in sheet.iter_rows()
        for cell in row
        if cell.data_type == "e"
    }
