"""The tables of documents as contracts, and rows of them from what a worker has read."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract
from batch_assets.sources.documents.parse import ParseReply

_INSTANT = pa.timestamp("us", "UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DOCUMENTS = TableContract(
    target="documents.documents",
    columns=pa.schema(
        [
            ("document_id", pa.int64()),
            ("source", pa.string()),
            ("path", pa.string()),
            ("version", pa.int32()),
            ("arrival_day", pa.date32()),
            ("sha256", pa.string()),
            ("size_bytes", pa.int64()),
            ("modified_at", _INSTANT),
            ("outcome", pa.string()),
            ("reason", pa.string()),
            ("media_type", pa.string()),
            ("title", pa.string()),
            ("author", pa.string()),
            ("created_at", _INSTANT),
            ("changed_at", _INSTANT),
            ("language", pa.string()),
            ("segment_kind", pa.string()),
            ("segment_count", pa.int32()),
            ("character_count", pa.int64()),
            ("chunk_count", pa.int32()),
            ("notes", pa.string()),
            ("removed_characters", pa.int32()),
            ("parser", pa.string()),
            ("parser_version", pa.string()),
            ("fingerprint", pa.string()),
            ("parse_seconds", pa.float64()),
            ("peak_memory_bytes", pa.int64()),
        ]
    ),
    key=("source", "path", "version"),
    disposition=Disposition.MERGE,
    scope_columns=("source",),
)

TEXTS = TableContract(
    target="documents.texts",
    columns=pa.schema([("document_id", pa.int64()), ("text", pa.large_string())]),
    key=("document_id",),
    disposition=Disposition.MERGE,
)

CHUNKS = TableContract(
    target="documents.chunks",
    columns=pa.schema(
        [
            ("document_id", pa.int64()),
            ("ordinal", pa.int32()),
            ("segment_kind", pa.string()),
            ("segment_from", pa.int32()),
            ("segment_to", pa.int32()),
            ("start_offset", pa.int32()),
            ("end_offset", pa.int32()),
            ("text", pa.string()),
        ]
    ),
    key=("document_id", "ordinal"),
    disposition=Disposition.MERGE,
)


def instant_of(modified_ns: int) -> datetime | None:
    """A file's time of change; None where the store has none, or none that a date can hold."""
    if modified_ns == 0:
        return None
    try:
        return _EPOCH + timedelta(microseconds=modified_ns // 1_000)
    except OverflowError:
        return None


def content_columns(reply: ParseReply | None) -> Mapping[str, object]:
    """Columns of documents.documents that come from the text; counts are 0 where there is none."""
    if reply is None or reply.document is None:
        return {
            "segment_count": 0,
            "character_count": 0,
            "chunk_count": 0,
            "notes": "",
            "removed_characters": 0,
        }
    document = reply.document
    return {
        "media_type": document.media_type,
        "title": document.title or None,
        "author": document.author or None,
        "created_at": document.created_at,
        "changed_at": document.modified_at,
        "language": document.language,
        "segment_kind": document.segments[0].kind.value,
        "segment_count": len(document.segments),
        "character_count": len(document.text),
        "chunk_count": len(reply.chunks),
        "notes": "\n".join(document.notes),
        "removed_characters": document.removed_characters,
        "parser": document.parser,
        "parser_version": document.parser_version,
        "fingerprint": reply.fingerprint,
    }


def chunk_rows(document_id: int, reply: ParseReply) -> Iterator[Mapping[str, object]]:
    """Rows of documents.chunks."""
    for chunk in reply.chunks:
        yield {
            "document_id": document_id,
            "ordinal": chunk.ordinal,
            "segment_kind": chunk.segment_kind.value,
            "segment_from": chunk.segment_from,
            "segment_to": chunk.segment_to,
            "start_offset": chunk.start,
            "end_offset": chunk.end,
            "text": chunk.text,
        }
