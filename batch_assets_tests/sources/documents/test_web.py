from datetime import UTC, datetime

import pytest

from batch_assets.sources.documents.limits import ParseLimits
from batch_assets.sources.documents.parse import parse_bytes
from batch_assets.sources.documents.parsed import ParsedDocument
from batch_assets_tests.sources.documents.sample_files import HTML


def parse(data: bytes) -> ParsedDocument:
    return parse_bytes(data, "a.html", ParseLimits())


def test_a_page_gives_what_a_reader_sees() -> None:
    parsed = parse(HTML)

    assert parsed.title == "Annual report"
    assert parsed.text == "Revenue\n\nRevenue grew by ten percent.\n\n2023\t40"
    assert parsed.segments[0].label == "Revenue"


def test_headings_divide_the_page() -> None:
    parsed = parse(b"<html><p>Before</p><h1>One</h1>text<h2>Two <i>b</i></h2>more</html>")

    assert [(s.number, s.label, s.text) for s in parsed.segments] == [
        (1, "", "Before"),
        (2, "One", "One\n\ntext".replace("\n\n", "\n")),
        (3, "Two b", "Two b\nmore"),
    ]


def test_inline_markup_and_comments_do_not_break_words() -> None:
    parsed = parse(b"<html><p>un<b>break</b>able<!-- no --> wor<wbr>d &amp; soft&shy;ly</p></html>")

    assert parsed.text == "unbreakable word & softly"


def test_preformatted_text_keeps_its_spaces() -> None:
    assert parse(b"<html><pre>a   b\n  c</pre></html>").text == "a   b\nc"


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-8", "utf-16", "utf-8-sig"])
def test_the_encoding_comes_from_the_mark_or_the_page(encoding: str) -> None:
    charset = encoding.removesuffix("-sig")
    page = f'<html><head><meta charset="{charset}"></head><p>中文</p></html>'

    assert parse(page.encode(encoding)).text == "中文"


def test_an_xml_declaration_is_no_obstacle() -> None:
    page = '<?xml version="1.0" encoding="iso-8859-1"?><html><body><p>Größe</p></body></html>'

    assert parse(page.encode("iso-8859-1")).text == "Größe"


def test_dates_and_author_come_from_the_head() -> None:
    parsed = parse(
        b'<html><head><meta name="author" content="Ann">'
        b'<meta property="article:published_time" content="2024-09-30T18:00:00+08:00"></head>'
        b"<p>x</p></html>"
    )

    assert parsed.author == "Ann"
    assert parsed.created_at == datetime(2024, 9, 30, 10, tzinfo=UTC)


def test_a_page_of_nothing_but_broken_tags_does_not_raise() -> None:
    assert parse(b"<html><p>a<<<p <b>c</i></html>").text.startswith("a")
