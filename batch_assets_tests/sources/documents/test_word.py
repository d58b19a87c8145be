from datetime import UTC, datetime

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import (
    docx_parts,
    paragraph,
    relations,
    zip_of,
)

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
STYLES = (
    f'<w:styles {W}><w:style w:styleId="1"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Body"><w:name w:val="Normal"/></w:style></w:styles>'
)


def parse(body: str, **parts: str) -> ParsedDocument:
    """Parse a body with further parts by their relation kind."""
    package = docx_parts(body)
    package["word/_rels/document.xml.rels"] = relations(
        [(f"r{n}", kind, f"{kind}.xml") for n, kind in enumerate(parts)]
    )
    for kind, content in parts.items():
        package[f"word/{kind}.xml"] = content
    return parse_bytes(zip_of(package), "a.docx", ParseLimits())


def styled(text: str, style: str) -> str:
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'


def test_headings_divide_the_body_into_labelled_sections() -> None:
    parsed = parse(
        paragraph("Before.") + styled("One", "1") + styled("Text.", "Body") + styled("Two", "1"),
        styles=STYLES,
    )

    assert [(s.number, s.label, s.text) for s in parsed.segments] == [
        (1, "", "Before."),
        (2, "One", "One\nText."),
        (3, "Two", "Two"),
    ]


def test_rows_of_a_table_are_lines_and_cells_are_separated_by_tabs() -> None:
    def cell(text: str) -> str:
        return f"<w:tc><w:tcPr/>{paragraph(text)}{paragraph('more')}</w:tc>"

    row = f"<w:tr>{cell('a')}{cell('b')}</w:tr>"
    nested = f"<w:tr><w:tc>{paragraph('c')}<w:tbl>{row}</w:tbl></w:tc></w:tr>"

    parsed = parse(f"<w:tbl>{row}{nested}</w:tbl>{paragraph('after')}")

    assert parsed.text == "a more\tb more\nc a more b more\nafter"


def test_a_text_box_is_read_once_and_does_not_cut_its_paragraph() -> None:
    box = f"<w:txbxContent>{paragraph('in the box')}</w:txbxContent>"
    both = (
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006'
        f'"><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>'
    )

    parsed = parse(f"<w:p><w:r><w:t>wo</w:t>{both}<w:t>rd</w:t></w:r></w:p>")

    assert parsed.text == "word\nin the box"


def test_notes_comments_and_headers_have_sections_of_their_own() -> None:
    note = f"<w:footnote>{paragraph('A footnote')}</w:footnote>"
    rule = f'<w:footnote w:type="separator">{paragraph("---")}</w:footnote>'

    parsed = parse(
        paragraph("Body"),
        header=f"<w:hdr {W}>{paragraph('Confidential')}</w:hdr>",
        footnotes=f"<w:footnotes {W}>{rule}{note}</w:footnotes>",
        comments=f'<w:comments {W}><w:comment w:author="Ann">{paragraph("Why?")}</w:comment>'
        "</w:comments>",
    )

    assert [(s.label, s.text) for s in parsed.segments] == [
        ("", "Body"),
        ("headers and footers", "Confidential"),
        ("footnotes", "A footnote"),
        ("comments", "Ann: Why?"),
    ]


def test_what_was_deleted_moved_away_or_is_a_field_code_is_not_text() -> None:
    parsed = parse(
        "<w:p><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        "<w:moveFrom><w:r><w:t>old place</w:t></w:r></w:moveFrom>"
        "<w:ins><w:r><w:t>inserted</w:t></w:r></w:ins>"
        "<w:r><w:instrText>PAGE</w:instrText><w:tab/><w:t>7</w:t><w:br/><w:t>non</w:t>"
        "<w:noBreakHyphen/><w:t>stop</w:t></w:r></w:p>"
    )

    assert parsed.text == "inserted\t7\nnon-stop"


def test_a_damaged_footnote_part_costs_the_footnotes_and_says_so() -> None:
    parsed = parse(paragraph("Body"), footnotes="<w:footnotes")

    assert parsed.text == "Body"
    assert len(parsed.notes) == 1
    assert parsed.notes[0].startswith("footnotes were not read")


def test_strict_files_are_read_like_transitional_ones() -> None:
    package = docx_parts(paragraph("strict"))
    package["word/document.xml"] = str(package["word/document.xml"]).replace(
        "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "http://purl.oclc.org/ooxml/wordprocessingml/main",
    )

    assert parse_bytes(zip_of(package), "a.docx", ParseLimits()).text == "strict"


def test_core_properties_are_read() -> None:
    package = docx_parts(paragraph("x"))
    package["docProps/core.xml"] = (
        '<cp:coreProperties xmlns:cp="c" xmlns:dc="d" xmlns:dcterms="t"><dc:title>Plan</dc:title>'
        "<dc:creator>Ann</dc:creator><dcterms:created>2024-09-30T10:00:00Z</dcterms:created>"
        "<dcterms:modified>nonsense</dcterms:modified></cp:coreProperties>"
    )

    parsed = parse_bytes(zip_of(package), "a.docx", ParseLimits())

    assert (parsed.title, parsed.author, parsed.modified_at) == ("Plan", "Ann", None)
    assert parsed.created_at == datetime(2024, 9, 30, 10, tzinfo=UTC)
