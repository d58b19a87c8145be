"""Plain text, CSV and Markdown: decoded, and Markdown divided at its headings.

CSV is kept as it is written: a search hit shows the line as the file has it.
"""

import re

from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.encoding import decode_text
from batch_assets.sources.documents.parsed import Draft, SegmentKind

_HEADING = re.compile(r"#{1,6}[ \t]+\S")
_FENCE = re.compile(r" {0,3}(```|~~~)")


def parse_text(data: bytes, context: ParseContext) -> Draft:  # noqa: ARG001 - shape of a parser
    """One section with all of it."""
    draft = Draft()
    draft.add(SegmentKind.SECTION, "", _decoded(data, draft))
    return draft


def parse_csv(data: bytes, context: ParseContext) -> Draft:  # noqa: ARG001 - shape of a parser
    """One sheet with all of it."""
    draft = Draft()
    draft.add(SegmentKind.SHEET, "", _decoded(data, draft))
    return draft


def parse_markdown(data: bytes, context: ParseContext) -> Draft:  # noqa: ARG001 - shape of a parser
    """A section for each heading, labelled with it; the first heading is the title."""
    draft = Draft()
    label, lines, fence = "", list[str](), ""
    for line in _decoded(data, draft).splitlines():
        if match := _FENCE.match(line):
            fence = "" if fence == match[1] else fence or match[1]
        heading = None if fence else _HEADING.match(line)
        if heading:
            _add_section(draft, label, lines)
            label, lines = line.strip(" \t#"), []
            draft.title = draft.title or label
        lines.append(line)
    _add_section(draft, label, lines)
    return draft


def _add_section(draft: Draft, label: str, lines: list[str]) -> None:
    if any(line.strip() for line in lines):
        draft.add(SegmentKind.SECTION, label, "\n".join(lines))


def _decoded(data: bytes, draft: Draft) -> str:
    decoded = decode_text(data)
    if decoded.replaced:
        draft.notes.append(
            f"{decoded.replaced} characters do not fit the encoding {decoded.encoding}; "
            "save the file as UTF-8 if they matter"
        )
    return decoded.text
