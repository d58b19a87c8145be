import datetime as dt
import io

import openpyxl
import pytest

from batch_assets.sources.documents.cells import cell_text, repaired_text
from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import (
    cell,
    relations,
    xlsx_parts,
    zip_of,
)

SPREADSHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def parse(data: bytes, limits: ParseLimits | None = None) -> ParsedDocument:
    return parse_bytes(data, "a.xlsx", limits or ParseLimits())


def saved(book: openpyxl.Workbook) -> bytes:
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_sheets_are_numbered_and_named_hidden_ones_too() -> None:
    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    first.title = "收入"
    first.append(["name", "amount", None, "day"])
    first.append(["Ann", 42, None, dt.date(2024, 9, 30)])
    hidden = book.create_sheet("secret")
    moment = dt.datetime.fromisoformat("2024-09-30T10:05:00")
    hidden.append([True, 0.1 + 0.2, moment, "two\nlines"])
    hidden.sheet_state = "hidden"

    parsed = parse(saved(book))

    assert [(s.kind, s.number, s.label, s.text) for s in parsed.segments] == [
        ("sheet", 1, "收入", "name\tamount\t\tday\nAnn\t42\t\t2024-09-30"),
        ("sheet", 2, "secret", "TRUE\t0.3\t2024-09-30 10:05:00\ttwo lines"),
    ]


def test_errors_and_formulas_without_result_are_counted() -> None:
    rows = (
        '<row r="1"><c r="A1" t="e"><v>#N/A</v></c><c r="B1"><f>1+1</f></c></row>'
        f'<row r="2">{cell("A2", "text")}</row>'
    )

    parsed = parse(zip_of(xlsx_parts({"Sheet": rows})))

    assert parsed.text == "text"
    assert parsed.notes[0].startswith("1 cells hold an error")
    assert parsed.notes[1].startswith("1 formulas have no stored result")


def test_comments_stand_with_their_sheet() -> None:
    parts = xlsx_parts({"One": cell("A1", "x"), "Two": f'<row r="1">{cell("A1", "cell")}</row>'})
    parts["xl/worksheets/_rels/sheet2.xml.rels"] = relations(
        [("c1", "comments", "../comments1.xml")]
    )
    parts["xl/comments1.xml"] = (
        f"<comments {SPREADSHEET}><commentList><comment ref='A1'><text><t>Check this</t></text>"
        "</comment></commentList></comments>"
    )

    parsed = parse(zip_of(parts))

    assert parsed.segments[1].text == "cell\nCheck this"
    assert parsed.pages == 2


@pytest.mark.parametrize(
    ("limit_cells", "first_row"), [(1_200_000, "first\t\tthird"), (1_199_999, "first\tthird")]
)
def test_a_sheet_that_spans_more_than_the_limit_is_read_row_by_row(
    limit_cells: int, first_row: str
) -> None:
    rows = (
        f'<row r="1">{cell("A1", "first")}{cell("C1", "third")}</row>'
        f'<row r="400000">{cell("A400000", "last")}</row>'
    )

    parsed = parse(zip_of(xlsx_parts({"S": rows})), ParseLimits(max_sheet_cells=limit_cells))

    # The row reader leaves out the empty cells between.
    assert parsed.text == f"{first_row}\nlast"


def test_a_sheet_that_one_reader_refuses_is_read_by_the_other() -> None:
    parts = xlsx_parts({"Good": f'<row r="1">{cell("A1", "good")}</row>', "Odd": ""})
    parts["xl/worksheets/sheet2.xml"] = (
        f'<worksheet {SPREADSHEET}><dimension ref="A0:B0"/><sheetData><row r="1">'
        f"{cell('A1', 'found')}</row></sheetData></worksheet>"
    )

    parsed = parse(zip_of(parts))

    assert [segment.text for segment in parsed.segments] == ["good", "found"]
    assert parsed.notes == ()


def test_a_sheet_that_nobody_can_read_is_named_and_alone_is_corrupt() -> None:
    def broken(*good: str) -> bytes:
        sheets = {f"Good{n}": f'<row r="1">{cell("A1", t)}</row>' for n, t in enumerate(good)}
        return zip_of(xlsx_parts({**sheets, "Bad": f'<row r="x">{cell("A?", "lost")}</row>'}))

    parsed = parse(broken("good"))
    with pytest.raises(DocumentRefused, match="no sheet can be read; 'Bad'") as refused:
        parse(broken())

    assert parsed.text == "good"
    assert parsed.notes[0].startswith("sheet 'Bad' was not read")
    assert refused.value.outcome is DocumentOutcome.CORRUPT


@pytest.mark.long
def test_a_large_sheet_that_is_not_sparse_is_refused() -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}"/></row>' for n in range(1, 500_002))

    with pytest.raises(DocumentRefused, match="max_sheet_cells is 400,000") as refused:
        parse(zip_of(xlsx_parts({"S": rows})), ParseLimits(max_sheet_cells=400_000))

    assert refused.value.outcome is DocumentOutcome.TOO_LARGE


@pytest.mark.parametrize(
    ("wide", "text"),
    [
        ("T\0e\0x\0t\0", "Text"),
        ("\x2d\x4e\x87\x65\x41\x00", "中文A"),
        ("plain", "plain"),
    ],
)
def test_text_decoded_byte_by_byte_is_repaired(wide: str, text: str) -> None:
    assert repaired_text(wide) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42.0, "42"),
        (1e20, "1e+20"),
        (0.1, "0.1"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (dt.time(9, 30), "09:30:00"),
        (dt.timedelta(hours=30), "1 day, 6:00:00"),
        (None, ""),
    ],
)
def test_a_cell_reads_as_a_person_reads_it(value: float | dt.time | None, text: str) -> None:
    assert cell_text(value) == text
