"""Word documents (.docx, .docm, .dotx): body, tables, text boxes, notes, comments, headers.

A section for each heading of the body, then one each for what stands outside of it.
"""

from collections.abc import Iterator

from lxml import etree

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.office_text import chart_text, markup_text
from batch_assets.sources.documents.outcome import DocumentRefused
from batch_assets.sources.documents.package import Package, damaged
from batch_assets.sources.documents.parsed import Draft, SegmentKind

_SEPARATOR_NOTES = frozenset({"separator", "continuationSeparator", "continuationNotice"})
# Relation of the document: label of the section its text goes to.
_BESIDE_THE_BODY = {
    "header": "headers and footers",
    "footer": "headers and footers",
    "footnotes": "footnotes",
    "endnotes": "endnotes",
    "comments": "comments",
    "chart": "charts",
    "chartEx": "charts",
    "diagramData": "diagrams",
    "aFChunk": "inserted files",
}


def parse_word(data: bytes, context: ParseContext) -> Draft:
    """Text of a Word document; sections are numbered in reading order."""
    draft = Draft()
    with Package(data, context.limits) as package:
        package.read_properties(draft)
        part = package.main_part("word/document.xml")
        root = package.read_xml(part)
        body = next(root.iter("{*}body"), None)
        if body is None:
            raise damaged(f"{part} has no body")
        _read_body(body, _heading_styles(package, part), draft)
        _read_beside_the_body(package, part, draft, context)
    return draft


def _read_body(body: etree._Element, headings: frozenset[str], draft: Draft) -> None:
    label, pieces = "", list[str]()

    def end_section() -> None:
        if "".join(pieces).strip():
            draft.add(SegmentKind.SECTION, label, "".join(pieces))
        pieces.clear()

    def see(element: etree._Element, text: str) -> None:
        nonlocal label
        if text.strip() and _is_heading(element, headings):
            end_section()
            label = text
        pieces.append(text)

    pieces.append(markup_text(body, see))
    end_section()


def _is_heading(paragraph: etree._Element, headings: frozenset[str]) -> bool:
    properties = next(paragraph.iterchildren("{*}pPr"), None)
    if properties is None:
        return False
    if next(properties.iterchildren("{*}outlineLvl"), None) is not None:
        return True
    style = next(properties.iterchildren("{*}pStyle"), None)
    return style is not None and _attribute(style, "val") in headings


def _heading_styles(package: Package, part: str) -> frozenset[str]:
    """Ids of the heading styles; Word keeps their names in English whatever its language."""
    styles: set[str] = set()
    for relation in package.relations(part).values():
        if relation.kind != "styles" or relation.target not in package:
            continue
        try:
            root = package.read_xml(relation.target)
        except DocumentRefused:
            # The text is whole without its headings.
            continue
        for style in root.iter("{*}style"):
            name = next(style.iterchildren("{*}name"), None)
            if name is not None and _attribute(name, "val").lower().startswith("heading "):
                styles.add(_attribute(style, "styleId"))
    return frozenset(styles)


def _read_beside_the_body(package: Package, part: str, draft: Draft, context: ParseContext) -> None:
    texts: dict[str, list[str]] = {}
    for relation in package.relations(part).values():
        label = _BESIDE_THE_BODY.get(relation.kind)
        if label is None or relation.is_external:
            continue
        try:
            text = _part_text(package, relation.kind, relation.target, context)
        except DocumentRefused as refusal:
            draft.notes.append(f"{label} were not read: {refusal.reason}")
            continue
        # Headers of several sections are often the same.
        if text.strip() and text not in texts.setdefault(label, []):
            texts[label].append(text)
    for label, found in texts.items():
        if found:
            draft.add(SegmentKind.SECTION, label, "\n".join(found))


def _part_text(package: Package, kind: str, target: str, context: ParseContext) -> str:
    if kind == "aFChunk":
        return context.parse_nested(package.read(target), target).text
    root = package.read_xml(target)
    if kind in ("chart", "chartEx"):
        return chart_text(root)
    if kind in ("footnotes", "endnotes", "comments"):
        return "".join(_notes(root))
    return markup_text(root)


def _notes(root: etree._Element) -> Iterator[str]:
    for note in root.iterchildren("{*}*"):
        if _attribute(note, "type") not in _SEPARATOR_NOTES:
            author = _attribute(note, "author")
            yield f"{author}: {markup_text(note)}" if author else markup_text(note)


def _attribute(element: etree._Element, name: str) -> str:
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2] == name:
            return str(value)
    return ""
