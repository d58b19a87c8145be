from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import (
    pptx_parts,
    relations,
    shape,
    zip_of,
)

A = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
)


def parse(parts: dict[str, str | bytes]) -> ParsedDocument:
    return parse_bytes(zip_of(parts), "a.pptx", ParseLimits())


def test_slides_come_in_the_order_of_the_show_with_their_titles() -> None:
    parts = pptx_parts([shape("Second", "title"), shape("First", "ctrTitle") + shape("body")])
    presentation = str(parts["ppt/presentation.xml"])
    parts["ppt/presentation.xml"] = (
        presentation.replace("r1", "rX").replace("r2", "r1").replace("rX", "r2")
    )

    parsed = parse(parts)

    assert [(s.kind, s.number, s.label, s.text) for s in parsed.segments] == [
        ("slide", 1, "First", "First\nbody"),
        ("slide", 2, "Second", "Second"),
    ]


def test_tables_and_grouped_shapes_are_read() -> None:
    def cell(text: str) -> str:
        return f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    table = f"<p:graphicFrame><a:tbl><a:tr>{cell('a')}{cell('b')}</a:tr></a:tbl></p:graphicFrame>"

    parsed = parse(pptx_parts([f"<p:grpSp><p:grpSp>{shape('deep')}</p:grpSp></p:grpSp>{table}"]))

    assert parsed.text == "deep\na\tb"


def test_speaker_notes_belong_to_their_slide_without_its_number() -> None:
    parts = pptx_parts([shape("Slide"), shape("Other")])
    parts["ppt/slides/_rels/slide1.xml.rels"] = relations(
        [("n1", "notesSlide", "../notesSlides/notesSlide1.xml")]
    )
    parts["ppt/notesSlides/notesSlide1.xml"] = (
        f"<p:notes {A}>{shape('Say this', 'body')}{shape('41', 'sldNum')}</p:notes>"
    )

    parsed = parse(parts)

    assert [s.text for s in parsed.segments] == ["Slide\nSay this", "Other"]


def test_charts_and_diagrams_give_their_words() -> None:
    parts = pptx_parts([shape("Slide")])
    parts["ppt/slides/_rels/slide1.xml.rels"] = relations(
        [("c", "chart", "../charts/chart1.xml"), ("d", "diagramData", "../diagrams/data1.xml")]
    )
    parts["ppt/charts/chart1.xml"] = "<c:c xmlns:c='c'><c:v>Revenue</c:v><c:v>40</c:v></c:c>"
    parts["ppt/diagrams/data1.xml"] = f"<d:m xmlns:d='d' {A}><a:p><a:t>Step one</a:t></a:p></d:m>"

    assert parse(parts).text == "Slide\nRevenue 40\nStep one"


def test_a_damaged_slide_keeps_its_number_and_is_named() -> None:
    parts = pptx_parts([shape("One"), shape("Two"), shape("Three")])
    parts["ppt/slides/slide2.xml"] = "<p:sld"

    parsed = parse(parts)

    assert [(s.number, s.text) for s in parsed.segments] == [(1, "One"), (2, ""), (3, "Three")]
    assert parsed.notes == ("damaged slides were not read: 2",)
