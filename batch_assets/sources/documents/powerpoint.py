"""PowerPoint presentations (.pptx, .pptm, .ppsx): slides with their notes, tables and charts."""

from lxml import etree

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.limits import too_large
from batch_assets.sources.documents.office_text import chart_text, markup_text
from batch_assets.sources.documents.outcome import DocumentRefused
from batch_assets.sources.documents.package import Package, damaged
from batch_assets.sources.documents.parsed import Draft, Segment, SegmentKind

_TITLES = frozenset({"title", "ctrTitle"})
# Of a notes page: the picture of the slide, its number, date, header and footer.
_NOT_NOTES = frozenset({"sldImg", "sldNum", "dt", "hdr", "ftr"})


def parse_powerpoint(data: bytes, context: ParseContext) -> Draft:
    """A segment for each slide in the order of the show; the number is the slide's."""
    draft = Draft()
    with Package(data, context.limits) as package:
        package.read_properties(draft)
        slides = _slide_parts(package)
        if len(slides) > context.limits.max_pages:
            raise too_large("slides", len(slides), "max_pages", context.limits.max_pages)
        damaged_slides: list[int] = []
        for number, part in enumerate(slides, start=1):
            try:
                label, text = _slide(package, part, draft, number)
            except DocumentRefused:
                damaged_slides.append(number)
                label, text = "", ""
            draft.segments.append(Segment(SegmentKind.SLIDE, number, label, text))
    if damaged_slides:
        numbers = ", ".join(map(str, damaged_slides))
        if len(damaged_slides) == len(slides):
            raise damaged(f"none of its {len(slides)} slides can be read")
        draft.notes.append(f"damaged slides were not read: {numbers}")
    return draft


def _slide_parts(package: Package) -> list[str]:
    main = package.main_part("ppt/presentation.xml")
    relations = package.relations(main)
    parts: list[str] = []
    for element in package.read_xml(main).iter("{*}sldId"):
        ids = [str(v) for k, v in element.attrib.items() if str(k).endswith("}id")]
        relation = relations.get(ids[0]) if ids else None
        if relation is not None:
            parts.append(relation.target)
    return parts


def _slide(package: Package, part: str, draft: Draft, number: int) -> tuple[str, str]:
    root = package.read_xml(part)
    pieces = [markup_text(root)]
    for relation in package.relations(part).values():
        if relation.is_external:
            continue
        try:
            pieces.append(_related_text(package, relation.kind, relation.target))
        except DocumentRefused as refusal:
            draft.notes.append(f"slide {number}: {relation.kind} not read: {refusal.reason}")
    return _title(root), "\n".join(piece.strip() for piece in pieces if piece.strip())


def _related_text(package: Package, kind: str, target: str) -> str:
    match kind:
        case "notesSlide":
            return "".join(
                markup_text(shape)
                for shape in package.read_xml(target).iter("{*}sp")
                if _placeholder(shape) not in _NOT_NOTES
            )
        case "chart" | "chartEx":
            return chart_text(package.read_xml(target))
        case "diagramData":
            return markup_text(package.read_xml(target))
        case "comments":
            root = package.read_xml(target)
            old_style = (element.text or "" for element in root.iter("{*}text"))
            return "\n".join([*old_style, markup_text(root)])
        case _:
            return ""


def _title(root: etree._Element) -> str:
    for shape in root.iter("{*}sp"):
        if _placeholder(shape) in _TITLES:
            return markup_text(shape)
    return ""


def _placeholder(shape: etree._Element) -> str:
    element = next(shape.iter("{*}ph"), None)
    return "" if element is None else str(element.get("type", "body"))
