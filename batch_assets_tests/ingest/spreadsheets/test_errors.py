"""The workbook that a load with rejected rows leaves."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from batch_assets.contracts.batch import SourceCell, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.sources.spreadsheets.correctable import CorrectableRow
from batch_assets.sources.spreadsheets.error_workbook import (
    COMMENTED_ROWS,
    ErrorSummary,
    write_error_workbook,
)
from batch_assets.sources.spreadsheets.template import build_template
from batch_assets_tests.ingest.spreadsheets.loop import Loop, order, write_book


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path_factory.mktemp("spool")) as pool:
        yield pool


@pytest.fixture
def loop(postgres: str, tmp_path: Path, workers: IsolatedWorkers) -> Loop:
    return Loop.of(postgres, tmp_path, workers)


def test_rejected_rows_stand_in_a_workbook_with_reasons(loop: Loop, tmp_path: Path) -> None:
    book = write_book(tmp_path / "orders.xlsx", order(1), order(2, "ten"), order(None, -1))

    report = loop.load(book)

    assert report.error_workbook is not None
    workbook = openpyxl.load_workbook(report.error_workbook)
    assert workbook.sheetnames == ["Summary", "Fix me", "Dictionary"]
    facts = {row[0]: row[1] for row in workbook["Summary"].iter_rows(values_only=True) if row[0]}
    assert facts["File / 文件"] == "orders.xlsx"
    assert facts["Partition / 分区"] == "2024-09-30/orders.xlsx"
    assert (facts["read"], facts["inserted"], facts["rejected"]) == ("3", "1", "2")
    assert facts["unparsable_number"].startswith("1 ")
    header, first, second = workbook["Fix me"].iter_rows(values_only=True)
    assert header[-4:] == ("Order no", "Customer", "Order date", "Amount")
    row = dict(zip(header, first, strict=True))
    assert (row["_file"], row["_sheet"], row["_row"]) == ("orders.xlsx", "Orders", "3")
    assert (row["Order no"], row["Order date"], row["Amount"]) == ("2", "2024-09-30", "ten")
    assert "is no number" in row["_reason"]
    assert "不是数字" in row["_reason"]
    assert row["_action"] == "fix"
    assert second[header.index("Order no")] is None
    [letter, _] = loop.query("SELECT dead_letter_id FROM ops.dead_letters ORDER BY row_number")
    assert row["_id"] == str(letter[0])


def test_bad_cells_are_marked_and_others_are_not(loop: Loop, tmp_path: Path) -> None:
    report = loop.load(write_book(tmp_path / "orders.xlsx", order(1), order(2, "ten")))

    assert report.error_workbook is not None
    sheet = openpyxl.load_workbook(report.error_workbook)["Fix me"]
    cells = dict(zip((cell.value for cell in sheet[1]), sheet[2], strict=True))
    assert cells["Amount"].fill.fgColor.rgb == "FFF4B6B6"
    assert "is no number" in cells["Amount"].comment.text
    assert cells["Customer"].comment is None
    assert cells["Customer"].fill.fill_type is None
    assert {cell.number_format for cell in sheet[2]} == {"@"}
    [choice] = sheet.data_validations.dataValidation
    assert choice.formula1 == '"fix,drop"'
    assert cells["_action"].coordinate in choice.sqref


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "=cmd|'/C calc'!A0"])
def test_no_value_becomes_a_formula(loop: Loop, tmp_path: Path, text: str) -> None:
    report = loop.load(write_book(tmp_path / "orders.xlsx", order(2, "ten", text)))

    assert report.error_workbook is not None
    sheet = openpyxl.load_workbook(report.error_workbook)["Fix me"]
    cells = dict(zip((cell.value for cell in sheet[1]), sheet[2], strict=True))
    assert cells["Customer"].data_type == "s"
    assert cells["Customer"].quotePrefix
    # openpyxl leaves Excel's own escape for CR as it is.
    [[original]] = loop.query("SELECT original->>'Customer' FROM ops.dead_letters")
    assert str(cells["Customer"].value).replace("_x000D_", "\r") == original


def test_file_without_rejects_leaves_no_workbook(loop: Loop, tmp_path: Path) -> None:
    report = loop.load(write_book(tmp_path / "orders.xlsx", order(1)))

    assert report.error_workbook is None
    assert not (tmp_path / "errors").exists()


def test_rows_that_share_a_key_are_shown_by_the_names_of_the_file(
    loop: Loop, tmp_path: Path
) -> None:
    report = loop.load(write_book(tmp_path / "orders.xlsx", order(1, 10), order(1, 11)))

    assert report.error_workbook is not None
    sheet = openpyxl.load_workbook(report.error_workbook)["Fix me"]
    header, *rows = sheet.iter_rows(values_only=True)
    shown = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["Order no"], row["Amount"]) for row in shown] == [("1", "10.00"), ("1", "11.00")]
    assert "stands there twice" in shown[0]["_reason"]


@pytest.mark.long
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    template = build_template("orders", {"table": "a.b", "key": "a", "columns": {"a": "integer"}})
    layout = (SourceCell("a", "text", "a", None, 0),)
    violations = (Violation("unparsable_number", "a", "x", "a number", "hint", "A2"),)

    def rows(count: int) -> Iterator[CorrectableRow]:
        for number in range(count):
            values = {"a": f"value {number}"}
            letter = DeadLetter(
                number, "a.b", "", "w", 1, 1, "open", "f", "s", number, "r", violations, values
            )
            yield CorrectableRow(letter, layout, values, values)

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        summary = ErrorSummary((), {}, {}, ())
        write_error_workbook(tmp_path / "errors.xlsx", summary, template, ["a"], rows(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few = peak_bytes(COMMENTED_ROWS)
    many = peak_bytes(5 * COMMENTED_ROWS)

    assert many - few < 1_000_000
