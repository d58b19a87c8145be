"""Uploads of documents and how far they are: what the API asks for.

Receiving a body belongs in api/documents.py, files in sources/documents/landing_drop.py.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.documents.upload import record_upload
from batch_assets.ops.access import record_audit
from batch_assets.settings import Settings
from batch_assets.sources.documents.landing_drop import Dropped, DropResult, LandingDrop
from batch_assets.sources.documents.sources import DocumentSource, read_document_sources


def open_drop(settings: Settings, fields: Mapping[str, str], *, now: datetime) -> LandingDrop:
    """Where the files of an upload go, by its fields `source` and `day`.

    Raises:
        ConfigurationError: A field is unknown or wrong, or the source takes no uploads.
    """
    if unknown := sorted(set(fields) - {"source", "day"}):
        raise ConfigurationError(
            f"the form has the field {unknown[0]!r}, expected source, day and files; leave it out"
        )
    return LandingDrop(
        upload_source(settings, fields.get("source", "")),
        day=_day_of(fields.get("day", "")),
        now=now,
    )


def upload_source(settings: Settings, name: str) -> DocumentSource:
    """The source of that name; the only one for no name.

    Raises:
        ConfigurationError: There is none, or more than one to choose from.
    """
    sources = read_document_sources(settings)
    if not name and len(sources) == 1:
        return next(iter(sources.values()))
    if name in sources:
        return sources[name]
    known = ", ".join(sorted(sources)) or "none; add [documents.sources.<name>]"
    raise ConfigurationError(
        f"the source is {name!r}, expected one of those that are configured ({known}); send its "
        "name in the field source, before the files"
    )


def store_upload(
    conn: psycopg.Connection,
    drop: LandingDrop,
    *,
    source: str,
    actor: str,
    now: datetime,
) -> tuple[UUID, Sequence[Dropped]]:
    """Move the files of a drop in and remember them as a batch; the caller commits.

    Should the commit fail, the files are there all the same; sent again, they are known.
    """
    batch_id = uuid.uuid4()
    files = drop.move_in()
    record_upload(conn, batch_id, source=source, actor=actor, received_at=now, files=files)
    counts = {result.value: count_of(files, result) for result in DropResult}
    size_bytes = sum(file.size_bytes for file in files)
    subject = f"{source} {batch_id}"
    record_audit(conn, actor, "documents.upload", subject, bytes=size_bytes, **counts)
    return batch_id, files


def count_of(files: Sequence[Dropped], result: DropResult) -> int:
    """How many files came to a result."""
    return sum(file.result is result for file in files)


def _day_of(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError(
            f"the day is {text!r}, expected YYYY-MM-DD; correct it or leave it out"
        ) from None
