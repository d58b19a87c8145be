"""Text of WordprocessingML and DrawingML markup, in reading order.

Word, PowerPoint and the drawings of Excel share these element names, so one walk serves all;
namespaces are ignored, which covers strict and transitional files alike. The walk does not
recurse: nesting costs no stack.
"""

from dataclasses import dataclass, field
from typing import Protocol

from lxml import etree

# Definitions, not text; w:moveFrom is the old place of text that is read where it moved to;
# w:rt is the pronunciation above a word.
_SKIPPED = frozenset({"pPr", "rPr", "tblPr", "sectPr", "moveFrom", "rt", "tblGrid", "trPr", "tcPr"})
_BREAKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


class _ParagraphSeen(Protocol):
    def __call__(self, element: etree._Element, text: str, /) -> None: ...


@dataclass(slots=True)
class _Flow:
    """Text being collected; a text box has a flow of its own inside its paragraph's."""

    pieces: list[str] = field(default_factory=list)
    paragraph_starts: list[int] = field(default_factory=list)
    cell_starts: list[int] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)


def markup_text(root: etree._Element, on_paragraph: _ParagraphSeen | None = None) -> str:
    """Text of everything below an element.

    Cells of a table row are separated by tabs, paragraphs by line ends; the text of boxes follows
    the paragraph they are anchored in.

    Args:
        root: The element.
        on_paragraph: Instead of joining, told each paragraph or table outside of other ones, in
            order, with its text.
    """
    return _Walk(on_paragraph).read(root)


class _Walk:
    def __init__(self, on_paragraph: _ParagraphSeen | None) -> None:
        self._on_paragraph = on_paragraph
        self._flows = [_Flow()]
        self._table_depth = 0

    def read(self, root: etree._Element) -> str:
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            if not isinstance(element.tag, str):
                continue
            name = element.tag.rpartition("}")[2]
            if event == "end":
                self._end(name, element)
            elif name in _SKIPPED or (name == "Fallback" and _has_chosen_text(element)):
                walk.skip_subtree()
            else:
                self._start(name, element)
        return "".join(self._flows[0].pieces)

    def _start(self, name: str, element: etree._Element) -> None:
        flow = self._flows[-1]
        if name == "t":
            flow.pieces.append(element.text or "")
        elif name in _BREAKS:
            flow.pieces.append(_BREAKS[name])
        elif name == "p":
            flow.paragraph_starts.append(len(flow.pieces))
        elif name == "txbxContent":
            self._flows.append(_Flow())
        elif name == "tbl":
            self._table_depth += 1
        elif name == "tc":
            flow.cell_starts.append(len(flow.pieces))
        elif name == "textpath":
            flow.boxes.append(element.get("string", "") + "\n")
        elif name == "sym":
            flow.pieces.append(_symbol(element))

    def _end(self, name: str, element: etree._Element) -> None:
        if name == "p":
            self._end_paragraph(element)
        elif name == "tc":
            self._end_cell()
        elif name == "tr":
            self._flows[-1].pieces.append("\n")
        elif name == "tbl":
            self._table_depth -= 1
            self._tell(element)
        elif name == "txbxContent" and len(self._flows) > 1:
            box = "".join(self._flows.pop().pieces)
            self._flows[-1].boxes.append(box)

    def _end_paragraph(self, element: etree._Element) -> None:
        flow = self._flows[-1]
        if flow.paragraph_starts:
            flow.paragraph_starts.pop()
        flow.pieces.append("\n")
        if flow.boxes and not flow.paragraph_starts:
            flow.pieces.extend(flow.boxes)
            flow.boxes.clear()
        if not self._table_depth:
            self._tell(element)

    def _end_cell(self) -> None:
        flow = self._flows[-1]
        start = flow.cell_starts.pop() if flow.cell_starts else 0
        # One line for each row: what is inside a cell stays on it.
        cell = " ".join("".join(flow.pieces[start:]).split())
        del flow.pieces[start:]
        flow.pieces.append(f"{cell}\t")

    def _tell(self, element: etree._Element) -> None:
        if self._on_paragraph is None or len(self._flows) > 1 or self._table_depth:
            return
        flow = self._flows[0]
        self._on_paragraph(element, "".join(flow.pieces))
        flow.pieces.clear()


def _has_chosen_text(fallback: etree._Element) -> bool:
    """Whether the modern form beside a fallback has text, so that reading both would double it."""
    parent = fallback.getparent()
    if parent is None:
        return False
    choices = parent.iterchildren("{*}Choice")
    return any(next(choice.iter("{*}t"), None) is not None for choice in choices)


def _symbol(element: etree._Element) -> str:
    code = next(
        (str(v) for k, v in element.attrib.items() if str(k).rpartition("}")[2] == "char"), ""
    )
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    # F000-F0FF are places in a picture font, not characters.
    return "" if 0xE000 <= number <= 0xF8FF or number > 0x10FFFF else chr(number)


def chart_text(root: etree._Element) -> str:
    """Titles, categories and series names of a chart part, and its values."""
    found: list[str] = []
    for element in root.iter("{*}t", "{*}v"):
        text = (element.text or "").strip()
        if text:
            found.append(text)
    return " ".join(found)
