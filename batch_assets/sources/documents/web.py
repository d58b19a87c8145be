"""HTML pages: the text a reader sees, with the breaks that its markup means.

A section for each heading h1 to h3. The walk does not recurse: nesting costs no stack.
"""

import re

from lxml import etree

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.encoding import decode_text
from batch_assets.sources.documents.package import iso_moment
from batch_assets.sources.documents.parsed import Draft, SegmentKind

_UNSEEN = frozenset({"script", "style", "template", "head", "object", "iframe"})
_BLOCK_NAMES = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt "
    "fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr legend li main menu nav "
    "ol optgroup option p pre section select summary table tbody textarea tfoot thead tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_CELLS = frozenset({"td", "th"})
_HEADINGS = frozenset({"h1", "h2", "h3"})
_VERBATIM = frozenset({"pre", "textarea"})
# The standard looks within 1,024 bytes; pages of Office put more before it.
_META_WITHIN = 8192
_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"<\?xml[^>]+encoding\s*=\s*[\"']([\w:.-]+)")
_CONTAINER = re.compile(r"<(?!/?(?:script|style|title|p|br)[\s/>])[^<>]*>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n(?:[\t]*\n)+")
_BLANKS = re.compile("[ \t\n\r\f]+")


def parse_web(data: bytes, context: ParseContext) -> Draft:  # noqa: ARG001 - shape of a parser
    """Text of a page."""
    decoded = decode_text(data, _declared_encoding(data))
    draft = html_draft(decoded.text)
    if decoded.replaced:
        draft.notes.append(
            f"{decoded.replaced} characters do not fit the encoding {decoded.encoding}"
        )
    return draft


def html_draft(markup: str) -> Draft:
    """Text of markup that has been decoded already; declared encodings in it are ignored."""
    draft = Draft()
    root = _parsed(markup.replace("\x00", ""))
    if root is not None:
        _read_head(root, draft)
        _Page(draft).read(root)
    return draft


def _parsed(markup: str) -> etree._Element | None:
    root, is_cut = _parsed_once(markup)
    if is_cut:
        # libxml2 stops at a depth of 2,048 and drops the rest; without containers nothing nests.
        root, _ = _parsed_once(_CONTAINER.sub("\n", markup))
    return root


def _parsed_once(markup: str) -> tuple[etree._Element | None, bool]:
    """Root element, and whether the parser gave up half-way."""
    content = markup.encode("utf-8", "replace")
    if not content.strip():
        return None, False
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True, recover=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError:
        # Only comments: a page without an element.
        return None, False
    return root, any("depth" in entry.message for entry in parser.error_log)


def _declared_encoding(data: bytes) -> str:
    head = data[:_META_WITHIN]
    match = _META_CHARSET.search(head) or _XML_ENCODING.search(head)
    return match[1].decode("ascii") if match else ""


def _read_head(root: etree._Element, draft: Draft) -> None:
    title = next(root.iter("title"), None)
    if title is not None:
        draft.title = "".join(str(piece) for piece in title.itertext())
    for meta in root.iter("meta"):
        name = str(meta.get("name") or meta.get("property") or "").lower()
        content = str(meta.get("content") or "")
        if name == "author":
            draft.author = content
        elif name in ("article:published_time", "dcterms.created"):
            draft.created_at = iso_moment(content)
        elif name in ("article:modified_time", "dcterms.modified"):
            draft.modified_at = iso_moment(content)


class _Page:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._label = ""
        self._pieces: list[str] = []
        self._heading: list[str] | None = None
        self._verbatim_depth = 0

    def read(self, root: etree._Element) -> None:
        walk = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        for event, element in walk:
            if event == "start":
                name = _name(element)
                if name in _UNSEEN:
                    walk.skip_subtree()
                    continue
                self._start(name)
                self._add(element.text)
            else:
                if event == "end":
                    self._end(_name(element))
                self._add(element.tail)
        self._end_section()

    def _start(self, name: str) -> None:
        if name in _HEADINGS:
            self._end_section()
            self._heading = []
        if name in _BLOCKS or name == "br":
            self._pieces.append("\n")
        if name in _VERBATIM:
            self._verbatim_depth += 1

    def _end(self, name: str) -> None:
        if name in _HEADINGS and self._heading is not None:
            self._label = " ".join("".join(self._heading).split())
            self._heading = None
        if name in _VERBATIM:
            self._verbatim_depth -= 1
        if name in _CELLS:
            self._pieces.append("\t")
        elif name in _BLOCKS:
            self._pieces.append("\n")

    def _add(self, text: str | None) -> None:
        if not text:
            return
        piece = text if self._verbatim_depth > 0 else _BLANKS.sub(" ", text)
        self._pieces.append(piece)
        if self._heading is not None:
            self._heading.append(piece)

    def _end_section(self) -> None:
        text = _tidy("".join(self._pieces))
        self._pieces.clear()
        if text:
            self._draft.add(SegmentKind.SECTION, self._label, text)
        self._label = ""


def _name(element: etree._Element) -> str:
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def _tidy(text: str) -> str:
    # Markup between blocks leaves runs of blank lines that mean nothing.
    lines = (line.strip(" ") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
