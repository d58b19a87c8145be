"""What a parser gives: segments of text with the place each stood in, and the file's own facts.

Offsets count characters of `ParsedDocument.text`; chunks point into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# Between segments: a blank line, which every splitter takes for a strong break.
SEGMENT_SEPARATOR = "\n\n"


class SegmentKind(StrEnum):
    """What a segment is called in its file."""

    PAGE = "page"
    SLIDE = "slide"
    SHEET = "sheet"
    SECTION = "section"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a document that a reader can be sent to.

    Attributes:
        kind: What it is.
        number: Its number in the file, from 1.
        label: Its name where it has one: sheet name, heading, name of an attachment.
        text: Its text, possibly empty.
    """

    kind: SegmentKind
    number: int
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of one document and where it came from.

    Attributes:
        media_type: Of the content, whatever the file is called.
        title: Title in the file's own properties, or empty.
        author: Author in the file's own properties, or empty.
        created_at: From the properties, UTC, None when absent or senseless.
        modified_at: Likewise.
        language: ISO 639-1 guess from script and common words, None when unsure.
        parser: Library that read it, with the format: `pypdfium2`, `lxml/word`.
        parser_version: Version of that library and revision of our code on top of it.
        segments: In reading order; empty ones are kept, so numbers have no holes.
        notes: What could not be read although the rest was, one sentence each.
        removed_characters: NULs, lone surrogates and other control characters left out.
    """

    media_type: str
    title: str
    author: str
    created_at: datetime | None
    modified_at: datetime | None
    language: str | None
    parser: str
    parser_version: str
    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()
    removed_characters: int = 0

    @property
    def text(self) -> str:
        """The segments joined; an empty segment adds nothing, not even a separator."""
        return SEGMENT_SEPARATOR.join(s.text for s in self.segments if s.text)

    @property
    def segment_spans(self) -> tuple[tuple[int, int], ...]:
        """(start, end) of each segment in `text`; start equals end for an empty one."""
        return _spans(self.segments)

    @property
    def pages(self) -> int | None:
        """Pages, slides or sheets; None for kinds that have none of these."""
        counted = (SegmentKind.PAGE, SegmentKind.SLIDE, SegmentKind.SHEET)
        numbers = [s.number for s in self.segments if s.kind in counted]
        return max(numbers) if numbers else None


@dataclass(slots=True)
class Draft:
    """A document while its parser collects it; parse.py cleans and freezes it."""

    title: str = ""
    author: str = ""
    created_at: datetime | None = None
    modified_at: datetime | None = None
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Why there is no text, when the parser knows better than the general reason.
    empty_reason: str = ""

    def add(self, kind: SegmentKind, label: str, text: str) -> None:
        """Append the next segment; numbers count from 1 within the document."""
        self.segments.append(Segment(kind, len(self.segments) + 1, label, text))


def _spans(segments: Sequence[Segment]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    position = 0
    for segment in segments:
        if not segment.text:
            spans.append((position, position))
            continue
        start = position + len(SEGMENT_SEPARATOR) if position else 0
        position = start + len(segment.text)
        spans.append((start, position))
    return tuple(spans)
