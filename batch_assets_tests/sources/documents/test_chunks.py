import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_assets.errors import ConfigurationError
from batch_assets.sources.documents.chunks import Chunk, ChunkSettings, split_document
from batch_assets.sources.documents.parsed import ParsedDocument, Segment, SegmentKind

PIECES = ["word ", "净利润", "。", "x" * 300, " " * 500, "\n", "\n\n", "😀", "é", "\t", "1,2 "]


def document(*texts: str) -> ParsedDocument:
    segments = tuple(
        Segment(SegmentKind.PAGE, number, "", text) for number, text in enumerate(texts, start=1)
    )
    return ParsedDocument("text/plain", "", "", None, None, None, "test", "1", segments)


def lost_characters(text: str, chunks: list[Chunk]) -> str:
    covered = bytearray(len(text))
    for chunk in chunks:
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    return "".join(
        character
        for character, is_covered in zip(text, covered, strict=True)
        if not is_covered and not character.isspace()
    )


@given(
    pages=st.lists(
        st.lists(st.sampled_from(PIECES), max_size=60).map("".join).map(str.strip), max_size=6
    ),
    size=st.integers(1, 400),
    overlap_ratio=st.floats(0, 0.9),
)
@settings(max_examples=150, deadline=None)
def test_chunks_point_into_the_text_and_lose_nothing(
    pages: list[str], size: int, overlap_ratio: float
) -> None:
    parsed = document(*pages)
    text = parsed.text

    chunks = split_document(parsed, ChunkSettings(size, int(size * overlap_ratio)))

    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert all(0 < len(chunk.text) <= size for chunk in chunks)
    assert lost_characters(text, chunks) == ""
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        spans = parsed.segment_spans
        touched = [
            n for n, (start, end) in enumerate(spans, 1) if start < chunk.end and chunk.start < end
        ]
        assert (chunk.segment_from, chunk.segment_to) == (touched[0], touched[-1])


def test_nothing_is_lost_where_windows_of_the_splitter_meet() -> None:
    pick = random.Random(5)
    text = "".join(pick.choice(PIECES) for _ in range(20_000)).strip()
    blanks = "a" + " " * 100_000 + "b" + " " * 40_000 + "c" * 30_000

    for parsed in (document(text), document(blanks)):
        chunks = split_document(parsed, ChunkSettings())
        assert lost_characters(parsed.text, chunks) == ""
        assert max(len(chunk.text) for chunk in chunks) <= 1200


def test_time_grows_with_the_length_of_text_without_blank_lines() -> None:
    def cpu_seconds(characters: int) -> float:
        parsed = document("lorem ipsum dolor. " * (characters // 19))
        started = time.process_time()
        split_document(parsed, ChunkSettings())
        return time.process_time() - started

    small, large = cpu_seconds(100_000), cpu_seconds(1_000_000)

    # Ten times the text; the square would be a hundred.
    assert large < 40 * max(small, 0.005)


def test_a_chunk_over_two_pages_names_both() -> None:
    parsed = document("First page.", "", "Third page.")

    (chunk,) = split_document(parsed, ChunkSettings(100, 0))

    assert (chunk.segment_from, chunk.segment_to) == (1, 3)
    assert chunk.text == "First page.\n\nThird page."


def test_settings_refuse_an_overlap_as_large_as_the_chunk() -> None:
    with pytest.raises(ConfigurationError, match="overlap of 100"):
        ChunkSettings(100, 100)


def test_fingerprint_changes_with_size_and_overlap() -> None:
    fingerprints = {
        ChunkSettings(size, overlap).fingerprint for size in (500, 600) for overlap in (0, 50)
    }

    assert len(fingerprints) == 4
