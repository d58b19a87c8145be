from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets_tests.sources.spreadsheets.conftest import read_rows, rules_of, values_of

Writer = Callable[..., Path]
COLUMNS = {"id": {"type": "integer", "required": True}, "city": "text"}


def test_totals_and_repeated_headers_are_skipped_and_counted(write_csv: Writer) -> None:
    path = write_csv("id,city", "1,A", "Total,1", "id,city", "2,B", "Grand total,2")

    judged = read_rows(path, COLUMNS, skip_rows_with=["*total"])

    assert values_of(judged, "id") == [1, 2]
    [part] = judged
    assert (part.read_rows, part.skipped_rows) == (5, 3)


def test_table_ends_where_declared(write_csv: Writer) -> None:
    path = write_csv("id,city", "1,A", "Notes:", "x,y")

    judged = read_rows(path, COLUMNS, stop_at=["notes*"])

    assert values_of(judged, "id") == [1]
    assert judged[0].read_rows == 1


def test_empty_rows_are_no_rows(write_csv: Writer) -> None:
    judged = read_rows(write_csv("id,city", "", "1,A", ",", "2,B"), COLUMNS)

    assert judged[0].read_rows == 2


def test_every_wrong_cell_of_a_row_is_named(write_csv: Writer) -> None:
    path = write_csv("id,city,when", ",A,soon")

    judged = read_rows(path, {**COLUMNS, "when": "date"})

    assert rules_of(judged) == {"A2": "missing_value", "C2": "unparsable_date"}
    [row] = judged[0].rejected
    assert row.original == {"id": None, "city": "A", "when": "soon"}


def test_several_sheets_are_read_with_their_names(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "North"
    south = book.create_sheet("South")
    other = book.create_sheet("Readme")
    for sheet, number in ((book.active, 1), (south, 2)):
        sheet.append(["id", "city"])
        sheet.append([number, "A"])
    other.append(["nothing to see"])
    path = tmp_path / "a.xlsx"
    book.save(path)

    judged = read_rows(path, COLUMNS, sheet="*")

    assert values_of(judged, "id") == [1, 2]
    assert values_of(judged, "source_sheet") == ["North", "South"]


def test_missing_sheet_is_named_with_those_there_are(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Data"
    book.save(tmp_path / "a.xlsx")

    with pytest.raises(UnreadableSource, match="has sheets Data, expected 'Orders'"):
        read_rows(tmp_path / "a.xlsx", COLUMNS, sheet="Orders")


def test_more_rows_than_allowed_are_refused(write_csv: Writer) -> None:
    path = write_csv("id,city", *(f"{n},A" for n in range(11)))

    with pytest.raises(UnreadableSource, match="more than 10 rows"):
        read_rows(path, COLUMNS, max_rows=10)
