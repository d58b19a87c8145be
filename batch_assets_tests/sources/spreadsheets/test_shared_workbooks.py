"""Real workbooks, cell by cell against openpyxl."""

from pathlib import Path

import openpyxl
import pytest

from batch_assets.sources.spreadsheets.cells import Kind
from batch_assets.sources.spreadsheets.preflight import FileRefused, Refusal
from batch_assets.sources.spreadsheets.xlsx_text import decode_escapes
from batch_assets_tests.sources.spreadsheets.conftest import Cells, read_cells

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:openpyxl")

REFUSED = {
    "tika__e2c06d__testEXCEL_protected_passtika_2.xlsx": Refusal.PASSWORD,
    "calamine__e7b4a9__issue_385.xls": Refusal.PASSWORD,
    "poi__ab7e62__clusterfuzz-testcase-minimized-POIFuzzer-5040805309710336.xlsx": (
        Refusal.UNSUPPORTED
    ),
    "poi__27eb49__clusterfuzz-testcase-minimized-POIHSSFFuzzer-5889658057523200.xls": (
        Refusal.CORRUPT
    ),
}
# openpyxl cannot open it: a part that it names is missing.
NOT_FOR_OPENPYXL = "tika__99e356__testDdeLink.xlsx"


def test_every_workbook_opens_or_is_refused_with_its_reason(shared_documents: Path) -> None:
    seen: dict[str, Refusal] = {}
    opened = 0
    for path in sorted(shared_documents.iterdir()):
        if path.suffix not in (".xlsx", ".xls", ".xlsb", ".ods", ".csv"):
            continue
        try:
            read_cells(path)
            opened += 1
        except FileRefused as error:
            seen[path.name] = error.refusal

    assert seen == REFUSED
    assert opened == 34


def test_no_cell_of_a_real_workbook_is_lost_or_changed(shared_documents: Path) -> None:
    differences: list[str] = []
    compared = 0
    for path in sorted(shared_documents.glob("*.xlsx")):
        if path.name in REFUSED or path.name == NOT_FOR_OPENPYXL:
            continue
        ours = read_cells(path)
        book = openpyxl.load_workbook(path, data_only=True)
        for sheet in book.worksheets:
            for row in sheet.iter_rows():
                for cell in row:
                    if cell.value is None:
                        continue
                    compared += 1
                    if not is_same(cell, ours[sheet.title]):
                        differences.append(f"{path.name} {sheet.title}!{cell.coordinate}")
        book.close()

    assert differences == []
    assert compared > 7_000


def is_same(cell: openpyxl.cell.Cell, ours: Cells) -> bool:
    text, kind = ours.get((cell.row, cell.column), ("", Kind.EMPTY))
    match cell.data_type:
        case "e":
            return (text, kind) == (cell.value, Kind.ERROR)
        case "b":
            return (text, kind) == (str(int(cell.value)), Kind.BOOLEAN)
        case "n":
            return kind is Kind.NUMBER and float(text) == float(cell.value)
        case "d":
            return kind in (Kind.SERIAL, Kind.ISO)
        case _:
            expected = decode_escapes(str(cell.value)).replace("\r\n", "\n")
            return kind is Kind.TEXT and text.replace("\r\n", "\n") == expected
