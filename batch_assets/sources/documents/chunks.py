"""Pieces of a document's text, each pointing back at the pages it came from.

Splitting is semantic-text-splitter's: at headings, paragraphs, sentences, words, in that order.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from batch_assets.errors import ConfigurationError
from batch_assets.sources.documents.library_versions import library_version
from batch_assets.sources.documents.parsed import ParsedDocument, SegmentKind

SPLITTER = "semantic-text-splitter"
# The splitter's time grows with the square of a text that has no blank lines (40 s of CPU for
# 3 million characters, measured), so it sees this much at a time.
_WINDOW_CHARACTERS = 16_000
# A window holds many chunks, or the one that is split again would cost too much.
_WINDOW_CHUNKS = 8
# Raised when this module gives other chunks for the same text and settings.
REVISION = 1


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How long chunks are.

    Attributes:
        size_characters: Longest chunk.
        overlap_characters: How much of the end of a chunk the next one may repeat, at most.

    Raises:
        ConfigurationError: The overlap is not smaller than the size, or one is out of range.
    """

    size_characters: int = 1200
    overlap_characters: int = 120

    def __post_init__(self) -> None:
        if self.size_characters < 1 or not 0 <= self.overlap_characters < self.size_characters:
            raise ConfigurationError(
                f"chunks of {self.size_characters} characters with an overlap of "
                f"{self.overlap_characters}: the size must be at least 1 and the overlap smaller "
                "than the size; correct the chunk settings of the source"
            )

    @property
    def fingerprint(self) -> str:
        """Changes when the same text would be split in another way."""
        return (
            f"{SPLITTER} {library_version(SPLITTER)}/{REVISION} "
            f"{self.size_characters}/{self.overlap_characters}"
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of text; `document.text[start:end] == text` holds exactly.

    Attributes:
        ordinal: From 0, in reading order.
        segment_kind: Kind of the first segment it touches.
        segment_from: Number of the first segment it touches.
        segment_to: Number of the last one.
        start: First character, in the document's text.
        end: One after the last.
        text: The characters.
    """

    ordinal: int
    segment_kind: SegmentKind
    segment_from: int
    segment_to: int
    start: int
    end: int
    text: str


def split_document(document: ParsedDocument, settings: ChunkSettings) -> list[Chunk]:
    """Chunks of a document in reading order; no visible character is left out."""
    text = document.text
    filled = [
        (segment, span)
        for segment, span in zip(document.segments, document.segment_spans, strict=True)
        if segment.text
    ]
    starts = [start for _, (start, _) in filled]
    ends = [end for _, (_, end) in filled]
    chunks: list[Chunk] = []
    for ordinal, (start, end) in enumerate(_spans(text, settings)):
        first = filled[bisect_right(ends, start)][0]
        last = filled[bisect_left(starts, end) - 1][0]
        chunks.append(
            Chunk(ordinal, first.kind, first.number, last.number, start, end, text[start:end])
        )
    return chunks


def _spans(text: str, settings: ChunkSettings) -> Iterator[tuple[int, int]]:
    # Imported here: the parent asks this module for fingerprints only.
    from semantic_text_splitter import TextSplitter

    splitter = TextSplitter(settings.size_characters, overlap=settings.overlap_characters)
    window_characters = max(_WINDOW_CHARACTERS, _WINDOW_CHUNKS * settings.size_characters)
    position = 0
    while position < len(text):
        window_end = position + window_characters
        pieces = splitter.chunk_indices(text[position:window_end])
        spans = [(position + start, position + start + len(piece)) for start, piece in pieces]
        if window_end >= len(text):
            yield from spans
            return
        # A last piece that touches the window's end was cut by it, not by the text: it is split
        # again in the next window. One that does not is followed by white space alone.
        is_cut = len(spans) > 1 and spans[-1][1] == window_end
        yield from spans[:-1] if is_cut else spans
        position = spans[-1][0] if is_cut else window_end
