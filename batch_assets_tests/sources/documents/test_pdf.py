from datetime import UTC, datetime

import pytest

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import pdf, pdf_of_contents

NOTE = (
    "/Annots [<< /Type /Annot /Subtype /Text /Rect [10 10 30 30] /Contents (Remark of a reader) >>]"
)


def parse(data: bytes, limits: ParseLimits | None = None) -> ParsedDocument:
    return parse_bytes(data, "a.pdf", limits or ParseLimits())


def test_each_page_is_a_segment_with_its_number_empty_ones_too() -> None:
    parsed = parse(pdf("First", "", "Third"))

    assert [(s.kind, s.number, s.text) for s in parsed.segments] == [
        ("page", 1, "First"),
        ("page", 2, ""),
        ("page", 3, "Third"),
    ]
    assert parsed.text == "First\n\nThird"
    assert parsed.segment_spans == ((0, 5), (5, 5), (7, 12))
    assert parsed.pages == 3


def test_a_wrong_table_of_objects_is_rebuilt() -> None:
    data = pdf("Potato")
    table = data.rfind(b"startxref") + 10
    wrong = data[:table] + b"7\n%%EOF\n"

    assert parse(wrong).text == "Potato"


def test_a_swapped_table_of_objects_is_rebuilt() -> None:
    data = pdf("Potato")
    lines = data.split(b"\n")
    start = lines.index(b"0000000000 65535 f ")
    # The offsets of the page and of its content change places.
    lines[start + 4], lines[start + 5] = lines[start + 5], lines[start + 4]

    assert parse(b"\n".join(lines)).text == "Potato"


def test_remarks_are_part_of_the_page_once() -> None:
    text = parse(pdf("Body text", extra=NOTE)).text

    assert "Body text" in text
    assert text.count("Remark of a reader") == 1


def test_ligatures_are_letters_again() -> None:
    contents = "BT /F1 12 Tf 72 720 Td (o\\256cial) Tj ET"
    # MacRoman has the ligature fi at 336 octal; in the built-in font of PDFium it is drawn as is.
    data = pdf_of_contents([contents.replace("\\256", "\\336")]).replace(
        b"/WinAnsiEncoding", b"/MacRomanEncoding"
    )

    assert parse(data).text == "oficial"


def test_a_page_tree_with_an_absurd_count_is_corrupt() -> None:
    data = pdf("text").replace(b"/Count 1 ", b"/Count 9999999999 ")

    with pytest.raises(DocumentRefused, match="9999999999 pages") as refused:
        parse(data)

    assert refused.value.outcome is DocumentOutcome.CORRUPT


def test_too_many_pages_are_refused_by_name() -> None:
    with pytest.raises(DocumentRefused, match="3 pages, the limit max_pages is 2") as refused:
        parse(pdf("a", "b", "c"), ParseLimits(max_pages=2))

    assert refused.value.outcome is DocumentOutcome.TOO_LARGE


def test_properties_are_read_and_dates_are_utc() -> None:
    data = pdf("text")
    information = b"9 0 obj\n<< /Title (Annual report) /Author (Ann) "
    information += b"/CreationDate (D:20240930183000+08'00') >>\nendobj\n"
    table = data.index(b"xref\n")
    data = data[:table] + information + data[table:].replace(b"/Root", b"/Info 9 0 R /Root")
    data = data.replace(b"startxref", b"startxxxx")

    parsed = parse(data)

    assert (parsed.title, parsed.author) == ("Annual report", "Ann")
    assert parsed.created_at == datetime(2024, 9, 30, 10, 30, tzinfo=UTC)


def test_partly_scanned_files_say_which_share_has_no_text() -> None:
    picture = "q 500 0 0 700 50 50 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"
    parsed = parse(pdf_of_contents(["BT /F1 12 Tf 72 720 Td (Text) Tj ET", picture]))

    assert parsed.text == "Text"
    assert parsed.notes == (
        "1 of 2 pages have images and no text; run OCR (for example ocrmypdf) if they matter",
    )
