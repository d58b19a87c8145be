"""Files made to harm: each must end in an outcome, within seconds, and never in another error."""

import random
import resource
import struct
import time
from pathlib import Path

import pytest

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import ParseReply, ParseRequest, parse_bytes, parse_task
from batch_assets_tests.sources.documents.sample_files import (
    HTML,
    MAIL,
    cell,
    compound_file,
    docx,
    docx_parts,
    paragraph,
    pdf,
    picture_pdf,
    pptx,
    relations,
    xlsx,
    xlsx_parts,
    zip_of,
)

LIMITS = ParseLimits()
LAUGHS = (
    '<!DOCTYPE x [<!ENTITY b0 "lol">'
    + "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 10))
    + "]>"
)
SPREADSHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SMALL_FILES = {
    "a.pdf": pdf("Page one", "Page two"),
    "a.docx": docx("Hello", "World"),
    "a.pptx": pptx("One", "Two"),
    "a.xlsx": xlsx(Sheet=["first", "second"]),
    "a.xls": compound_file({"Workbook": b"\x09\x08\x10\x00\x00\x06\x05\x00" + b"\0" * 12}),
    "a.html": HTML,
    "a.eml": MAIL.replace(
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n",
    )
    + b"--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n",
    "a.csv": "姓名,城市\n张三,北京\n".encode("gb18030"),
    "a.md": b"# Title\n\ntext\n",
}


def outcome_of(data: bytes, name: str, limits: ParseLimits = LIMITS) -> tuple[str, str]:
    """The outcome, and the text or the reason."""
    try:
        return "ok", parse_bytes(data, name, limits).text
    except DocumentRefused as refusal:
        return refusal.outcome.value, refusal.reason


def write_and_parse(folder: Path, name: str, data: bytes) -> ParseReply:
    path = folder / name
    path.write_bytes(data)
    return parse_task(ParseRequest(str(path)))


def test_a_word_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zip_of(docx_parts(paragraph("A" * 1000) * 100_000))
    started, peak_kib = time.process_time(), _peak_kib()

    outcome, reason = outcome_of(bomb, "bomb.docx")

    assert outcome == "too_large"
    assert "max_expansion_ratio" in reason
    assert time.process_time() - started < 1
    assert _peak_kib() - peak_kib < 20_000


def test_a_package_is_refused_by_its_sum_and_its_number_of_members() -> None:
    document = docx("text " * 2000)

    assert outcome_of(document, "a.docx", ParseLimits(max_expanded_bytes=5000))[0] == "too_large"
    assert outcome_of(document, "a.docx", ParseLimits(max_entries=2))[0] == "too_large"


def test_a_sparse_sheet_gives_its_two_cells() -> None:
    rows = (
        f'<row r="1">{cell("A1", "first")}</row><row r="1048576">{cell("XFD1048576", "last")}</row>'
    )
    started = time.process_time()

    outcome, text = outcome_of(zip_of(xlsx_parts({"Sheet": rows})), "sparse.xlsx")

    assert (outcome, text) == ("ok", "first\nlast")
    assert time.process_time() - started < 20


@pytest.mark.parametrize("cells", ['office:value-type="string"', 'calcext:value-type="string"'])
def test_an_open_document_sheet_that_repeats_too_much_is_refused(cells: str) -> None:
    content = (
        '<office:document-content xmlns:office="o" xmlns:calcext="c" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"><table:table>'
        '<table:table-row table:number-rows-repeated="1048576">'
        f'<table:table-cell table:number-columns-repeated="16384" {cells}/>'
        "</table:table-row></table:table></office:document-content>"
    )
    sheet = zip_of(
        {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": content}
    )

    outcome, reason = outcome_of(sheet, "a.ods")

    assert outcome == "too_large"
    assert "17,179,869,184 cells" in reason


def test_billion_laughs_are_refused_in_every_part_that_is_read() -> None:
    word = docx_parts("")
    word["word/document.xml"] = (
        LAUGHS + '<w:document xmlns:w="w"><w:body><w:p><w:t>&b9;</w:t></w:p></w:body></w:document>'
    )
    sheet = xlsx_parts({"Sheet": ""})
    sheet["xl/worksheets/sheet1.xml"] = f"{LAUGHS}<worksheet {SPREADSHEET}>&b9;</worksheet>"
    strings = xlsx_parts({"Sheet": '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'})
    strings["xl/sharedStrings.xml"] = f"{LAUGHS}<sst {SPREADSHEET}><si><t>&b9;</t></si></sst>"
    strings["xl/_rels/workbook.xml.rels"] = relations(
        [("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "sharedStrings", "sharedStrings.xml")]
    )

    for parts, name in ((word, "a.docx"), (sheet, "a.xlsx"), (strings, "a.xlsx")):
        outcome, text = outcome_of(zip_of(parts), name)
        assert outcome == "corrupt" or len(text) < 100, (name, outcome, text[:100])


def test_entities_of_the_outside_are_not_fetched(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]>'
    word = docx_parts("")
    word["word/document.xml"] = (
        doctype + '<w:document xmlns:w="w"><w:body><w:p><w:t>&e;</w:t></w:p></w:body></w:document>'
    )

    for data, name in (
        (zip_of(word), "a.docx"),
        (f"{doctype}<html><body>&e; page</body></html>".encode(), "a.html"),
    ):
        assert "the secret" not in outcome_of(data, name)[1]


@pytest.mark.parametrize(("first_row", "rows"), [(0, 2**31), (243, 1)])
def test_an_xls_sheet_that_declares_the_impossible_is_refused(first_row: int, rows: int) -> None:
    dimensions = struct.pack("<HHIIHHH", 0x200, 14, first_row, rows, 0, 256, 0)

    outcome, reason = outcome_of(compound_file({"Workbook": dimensions}), "a.xls")

    assert outcome == "corrupt"
    assert f"rows {first_row:,} to {rows:,}" in reason


def test_an_xls_cell_beyond_the_last_column_is_refused() -> None:
    number = struct.pack("<HHHHHd", 0x203, 14, 0, 65_535, 0, 1.0)

    outcome, reason = outcome_of(compound_file({"Workbook": number}), "a.xls")

    assert outcome == "corrupt"
    assert "column 65,536" in reason


REPEATED = 300_000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("blanks.txt", b"a" + b" " * REPEATED + b"b"),
        ("lines.txt", b"a" + b" \n" * REPEATED + b"b"),
        ("comments", b"<!-- a -->" * REPEATED + b"x"),
        ("brackets", b"[" * REPEATED),
        ("links.md", b"# " + b" " * REPEATED + b"a #"),
        ("page.html", b"<html><pre>a" + b" " * REPEATED + b"b</pre>" + b"<td>" * 9000),
        ("tags.html", b"<html><p>" + b"<" * REPEATED),
        ("mail.eml", b"Subject: " + b"=?utf-8?q?a?= " * 20_000 + b"\nFrom: a@b\n\nx"),
        ("box", b"From " + b"2024" * REPEATED),
        ("sheet.xlsx", zip_of(xlsx_parts({"S": "<row " * REPEATED}))),
    ],
)
def test_time_does_not_grow_with_the_square_of_repetitions(name: str, data: bytes) -> None:
    started = time.process_time()

    outcome_of(data, name)

    # Each takes tenths of a second; the square of 300,000 would be minutes.
    assert time.process_time() - started < 10


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_deep_nesting_ends_in_text_or_a_refusal(depth: int) -> None:
    word = zip_of(docx_parts("<w:x>" * depth + paragraph("deep") + "</w:x>" * depth))
    page = b"<div>" * depth + b"deep" + b"</div>" * depth
    mail = b"Subject: s\r\nContent-Type: message/rfc822\r\n\r\n" * depth

    assert outcome_of(page, "a.html") == ("ok", "deep")
    assert outcome_of(word, "a.docx")[0] in ("ok", "corrupt")
    assert outcome_of(mail, "a.eml")[0] in ("too_large", "corrupt")


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_file_cut_anywhere_has_an_outcome(name: str, tmp_path: Path) -> None:
    whole = SMALL_FILES[name]

    for tenth in range(10):
        reply = write_and_parse(tmp_path, name, whole[: len(whole) * tenth // 10])
        assert reply.outcome in DocumentOutcome
        assert reply.reason or reply.outcome is DocumentOutcome.OK


@pytest.mark.parametrize("name", SMALL_FILES)
def test_flipped_bytes_never_raise(name: str, tmp_path: Path) -> None:
    pick = random.Random(f"flip {name}")

    for _ in range(120):
        data = bytearray(SMALL_FILES[name])
        for _ in range(pick.randint(1, 6)):
            data[pick.randrange(len(data))] = pick.randrange(256)
        reply = write_and_parse(tmp_path, name, bytes(data))
        assert (reply.document is None) == (reply.outcome is not DocumentOutcome.OK)


@pytest.mark.parametrize("part", ["word/document.xml", "xl/worksheets/sheet1.xml", "pages"])
def test_flipped_bytes_inside_packages_never_raise(part: str) -> None:
    pick = random.Random(f"inside {part}")
    parts = docx_parts(paragraph("x")) if part.startswith("word") else xlsx_parts({"S": ""})
    original = parts.get(part)

    for _ in range(150):
        if original is None:
            content = "".join(pick.choice("qQBTETj()<>[]/ 0123456789fm") for _ in range(60))
            outcome_of(pdf(content), "a.pdf")
            continue
        text = list(str(original))
        for _ in range(pick.randint(1, 4)):
            text[pick.randrange(len(text))] = chr(pick.randrange(32, 127))
        outcome, _ = outcome_of(zip_of({**parts, part: "".join(text)}), "a.docx")
        assert outcome in ("ok", "corrupt", "empty_text", "too_large", "unsupported")


def test_scanned_pages_are_told_from_empty_ones() -> None:
    outcome, reason = outcome_of(picture_pdf(12), "scan.pdf")

    assert outcome == "empty_text"
    assert "12 of 12 pages have images and no text; run OCR" in reason
    assert "OCR" not in outcome_of(pdf(""), "blank.pdf")[1].split(";")[0]


def test_a_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 2000)

    reply = parse_task(ParseRequest(str(path), limits=ParseLimits(max_file_bytes=1000)))

    assert reply.outcome is DocumentOutcome.TOO_LARGE
    assert "2,000 bytes, the limit max_file_bytes is 1,000" in reply.reason
    assert reply.sha256 == ""


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
