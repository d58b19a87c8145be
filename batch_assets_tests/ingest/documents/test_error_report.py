from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

import pytest
from openpyxl import load_workbook

from batch_assets.ingest.documents.advice import file_advice
from batch_assets.ingest.documents.error_report import safe_text, write_page, write_workbook
from batch_assets.ingest.documents.errors import FailedDocument, meaning_of
from batch_assets.ingest.documents.read import FileFault
from batch_assets.sources.documents.outcome import DocumentOutcome, Language

HOSTILE = [
    "=HYPERLINK(1)",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\tx",
    "\rx",
    "\nx",
    "＝1",
    "<script>alert(1)</script>",
    "a\x00b\x1b[31m",
    "lone \udcff surrogate",
    "not \ufffe characters \uffff",
    "\u202egpj.exe",
    "名称.pdf",
    "x" * 40_000,
    "007",
    "2024-01-01",
]


def failed(path: str, outcome: str = "corrupt") -> FailedDocument:
    return FailedDocument(
        source="inbox",
        path=path,
        arrival_day=date(2024, 9, 27),
        outcome=outcome,
        reason="it ends after 27 bytes; expected a whole PDF",
        size_bytes=27,
        attempts=1,
        finished_at=datetime(2024, 9, 27, 8, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_of_a_workbook_is_anything_but_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "errors.xlsx"

    write_workbook([failed(name)], path, "en")

    sheet = load_workbook(path).active
    assert sheet is not None
    for row in sheet.iter_rows():
        for cell in row:
            assert cell.data_type == "s"
            assert cell.number_format == "@"
            assert not str(cell.value).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_workbook_is_ready_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "errors.xlsx"

    number = write_workbook([failed("a.pdf"), failed("b.doc", "unsupported")], path, "zh")

    sheet = load_workbook(path).active
    assert sheet is not None
    assert number == 2
    assert sheet.title == "未能读取的文件"
    assert sheet.freeze_panes == "B2"
    assert sheet.column_dimensions["A"].width == 48
    assert sheet.auto_filter.ref == "A1:G3"
    rows = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert rows[0][:4] == ["文件", "来源", "日期", "结果"]
    assert rows[2] == [
        "b.doc",
        "inbox",
        "2024-09-27",
        "unsupported",
        "不支持这种文件类型。",
        "it ends after 27 bytes; expected a whole PDF",
        "请另存为 .docx、.pptx、.xlsx 或 .pdf 后重新放入。",
    ]


def test_workbook_without_failures_has_its_header(tmp_path: Path) -> None:
    path = tmp_path / "errors.xlsx"

    assert write_workbook([], path, "en") == 0

    sheet = load_workbook(path).active
    assert sheet is not None
    assert sheet.max_row == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_page_shows_names_and_evaluates_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "errors.html"

    write_page([failed(name)], path, "en")

    text = path.read_bytes().decode("utf-8")
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert text.count("<tr>") == 2


def test_report_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "errors.html"
    write_page([failed("old.pdf")], path, "en")

    with pytest.raises(AttributeError):
        write_page([failed("new.pdf"), None], path, "en")  # type: ignore[list-item]  # reason: breaks in the middle

    assert "old.pdf" in path.read_text("utf-8")
    assert [item.name for item in tmp_path.iterdir()] == ["errors.html"]


def test_plain_text_stays_as_it_is() -> None:
    assert safe_text("2024/Q3 report – final (2).pdf") == "2024/Q3 report – final (2).pdf"


@pytest.mark.parametrize("language", get_args(Language))
@pytest.mark.parametrize("outcome", [*DocumentOutcome, *FileFault])
def test_every_outcome_has_a_meaning_and_advice(outcome: str, language: Language) -> None:
    assert meaning_of(outcome, language)
    assert file_advice(outcome, language)
