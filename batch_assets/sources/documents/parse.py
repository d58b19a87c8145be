"""One file in, one answer out: the seam between parsers and the processes that run them.

`parse_document` raises for a file that has no text; `parse_task` is what a worker runs and puts
every fault of a file into its reply.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from batch_assets.sources.documents.chunks import Chunk, ChunkSettings, split_document
from batch_assets.sources.documents.clean import clean_text, one_line
from batch_assets.sources.documents.context import ParseContext
from batch_assets.sources.documents.formats import MEDIA_TYPES, detect_format
from batch_assets.sources.documents.language import guess_language
from batch_assets.sources.documents.limits import ParseLimits, check_file_bytes, too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parsed import Draft, ParsedDocument, Segment
from batch_assets.sources.documents.readers import READERS, Reader

# Attachments of attachments; more is refused by name, before Python's own stack is in danger.
_MAX_NESTING = 6


@dataclass(frozen=True, slots=True)
class ParseRequest:
    """What a worker is asked.

    Attributes:
        path: File on this machine.
        name: Its name at the source, when the path is a copy; only the extension matters.
        limits: Bounds.
        chunks: How to split the text; None for no chunks.
    """

    path: str
    name: str = ""
    limits: ParseLimits = field(default_factory=ParseLimits)
    chunks: ChunkSettings | None = field(default_factory=ChunkSettings)


@dataclass(frozen=True, slots=True)
class ParseReply:
    """What became of one file.

    Attributes:
        outcome: How it ended; never timeout or crash, which only the caller sees.
        reason: Empty for ok; otherwise what was seen in this file and what to do.
        sha256: Hash of the bytes that were parsed, hex; empty when it was too large to read.
        size_bytes: Their number.
        document: The text, for ok.
        chunks: Its chunks, for ok and if asked for.
        fingerprint: Of the parser and the chunk settings, see readers.py; for ok.
    """

    outcome: DocumentOutcome
    reason: str
    sha256: str
    size_bytes: int
    document: ParsedDocument | None = None
    chunks: tuple[Chunk, ...] = ()
    fingerprint: str = ""


def parse_document(path: Path, limits: ParseLimits, *, name: str = "") -> ParsedDocument:
    """Read one file.

    Raises:
        DocumentRefused: It has no text to give; says which outcome and why.
        OSError: It cannot be opened: gone, or not ours to read.
    """
    check_file_bytes(path.stat().st_size, limits)
    return parse_bytes(path.read_bytes(), name or path.name, limits)


def parse_task(request: ParseRequest) -> ParseReply:
    """Read one file and split its text; what is wrong with the file is in the reply.

    Raises:
        OSError: The file cannot be opened, which says nothing about what is in it.
    """
    path = Path(request.path)
    size_bytes = path.stat().st_size
    try:
        check_file_bytes(size_bytes, request.limits)
    except DocumentRefused as refusal:
        return ParseReply(refusal.outcome, refusal.reason, "", size_bytes)
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        document = parse_bytes(data, request.name or path.name, request.limits)
        chunks: tuple[Chunk, ...] = ()
        if request.chunks is not None:
            chunks = tuple(split_document(document, request.chunks))
    except DocumentRefused as refusal:
        return ParseReply(refusal.outcome, refusal.reason, sha256, len(data))
    except MemoryError:
        return ParseReply(DocumentOutcome.MEMORY, _MEMORY_REASON, sha256, len(data))
    return ParseReply(
        DocumentOutcome.OK,
        "",
        sha256,
        len(data),
        document,
        chunks,
        fingerprint_of(document, request.chunks),
    )


_MEMORY_REASON = (
    "reading it needed more memory than the worker may use; split the file or raise the memory "
    "limit of the source"
)


def fingerprint_of(document: ParsedDocument, chunks: ChunkSettings | None) -> str:
    """What the text and the chunks of a document were made with, as in readers.py."""
    parser = f"{document.parser} {document.parser_version}"
    return parser if chunks is None else f"{parser}; {chunks.fingerprint}"


def parse_bytes(data: bytes, name: str, limits: ParseLimits, *, nesting: int = 0) -> ParsedDocument:
    """Read a file that is in memory; `nesting` counts the documents it is attached to.

    Raises:
        DocumentRefused: It has no text to give.
    """
    if nesting > _MAX_NESTING:
        raise too_large("documents inside each other", nesting, "of nesting", _MAX_NESTING)
    kind = detect_format(data, name, limits)
    reader = READERS[kind]

    def parse_nested(inner: bytes, inner_name: str) -> ParsedDocument:
        return parse_bytes(inner, inner_name, limits, nesting=nesting + 1)

    draft = _drafted(reader, data, ParseContext(limits, name, parse_nested), kind.value)
    return _finished(draft, MEDIA_TYPES[kind], reader, limits)


def _drafted(reader: Reader, data: bytes, context: ParseContext, kind: str) -> Draft:
    parse = reader.load()
    try:
        return parse(data, context)
    except (DocumentRefused, MemoryError):
        raise
    # A broken file can bring any exception out of a parser, also one that its author never
    # thought of; whatever it is, it is this file's end and not the batch's.
    except Exception as error:
        raise _unreadable(kind, error) from error
    except BaseException as error:
        # How a panic in Rust arrives here; nothing to import it from.
        if type(error).__name__ != "PanicException":
            raise
        raise _unreadable(kind, error) from error


def _unreadable(kind: str, error: BaseException) -> DocumentRefused:
    detail = one_line(str(error))[:200]
    return DocumentRefused(
        DocumentOutcome.CORRUPT,
        f"damaged {kind} file: {type(error).__name__}{f': {detail}' if detail else ''}; open it "
        "in its program, save it again and drop the new copy",
    )


def _finished(draft: Draft, media_type: str, reader: Reader, limits: ParseLimits) -> ParsedDocument:
    removed = 0
    segments: list[Segment] = []
    for segment in draft.segments:
        text, removed_here = clean_text(segment.text)
        removed += removed_here
        segments.append(Segment(segment.kind, segment.number, one_line(segment.label), text))
    characters = sum(len(segment.text) for segment in segments)
    if characters == 0:
        raise DocumentRefused(
            DocumentOutcome.EMPTY_TEXT,
            draft.empty_reason
            or "the file opens and holds no text; nothing to do if it is meant "
            "to be empty, otherwise run OCR on its images",
        )
    if characters > limits.max_text_characters:
        raise too_large(
            "characters of text", characters, "max_text_characters", limits.max_text_characters
        )
    sample = "\n".join(segment.text[:4000] for segment in segments[:20])
    return ParsedDocument(
        media_type=media_type,
        title=one_line(draft.title),
        author=one_line(draft.author),
        created_at=draft.created_at,
        modified_at=draft.modified_at,
        language=guess_language(sample),
        parser=reader.library,
        parser_version=reader.version,
        segments=tuple(segments),
        notes=tuple(map(one_line, draft.notes)),
        removed_characters=removed,
    )
