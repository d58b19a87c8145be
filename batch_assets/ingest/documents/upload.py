"""Batches of uploaded documents: what was received, and how far it is.

The files themselves are put into their folder by sources/documents/landing_drop.py; from there on
scans and ingests treat them like any other.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from batch_assets.ingest.documents.advice import file_advice
from batch_assets.ingest.documents.read import FileFault
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.landing_drop import Dropped
from batch_assets.sources.documents.landing_folder import LocalFolder, open_folder
from batch_assets.sources.documents.sources import DocumentSource

# Ends that only uploads know; the others have their advice with the outcomes.
_REPLACED = "replaced"
_REPLACED_ADVICE = "Nothing to do; upload it under another name if both are wanted."
_REFUSED_ADVICE = "Correct what the reason says and upload the file again."


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far a batch is; counted from its files at the moment of asking.

    Attributes:
        total_docs: Files received, refused ones included.
        completed: Files whose text was read.
        failed: Files that came to any other end.
        eta_seconds: Until the last one ends, at the speed so far; None before the first.
    """

    batch_id: UUID
    source: str
    actor: str
    received_at: datetime
    total_docs: int
    completed: int
    failed: int
    eta_seconds: float | None

    @property
    def ended(self) -> int:
        """Files that came to an end."""
        return self.completed + self.failed

    @property
    def status(self) -> Literal["running", "completed", "partial", "failed"]:
        """`partial` where some failed, `failed` where all did."""
        if self.ended < self.total_docs:
            return "running"
        if self.failed == 0:
            return "completed"
        return "partial" if self.completed else "failed"

    @property
    def progress_percent(self) -> float:
        """Of all files, 0 to 100."""
        return round(100 * self.ended / self.total_docs, 1)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file of a batch that came to an end.

    Attributes:
        number: Its place in the batch, from 1.
        name: As it was sent.
        path: Where it was put; None if it was refused.
        outcome: `ok`, or how it failed.
        reason: What was seen, expected and what to do; empty for ok.
    """

    number: int
    name: str
    path: str | None
    outcome: str
    reason: str

    @property
    def advice(self) -> str:
        """What to do about it, in general."""
        if self.outcome == _REPLACED:
            return _REPLACED_ADVICE
        if self.outcome == FileFault.REFUSED and self.path is None:
            return _REFUSED_ADVICE
        return file_advice(self.outcome)


def record_upload(
    conn: psycopg.Connection,
    batch_id: UUID,
    *,
    source: str,
    actor: str,
    received_at: datetime,
    files: Sequence[Dropped],
) -> None:
    """Remember a batch; the caller commits.

    Args:
        received_at: Before the first file was in the folder.
        files: At least one.
    """
    conn.execute(
        "INSERT INTO documents.uploads (batch_id, source, actor, received_at, total_docs)"
        " VALUES (%s, %s, %s, %s, %s)",
        (batch_id, source, actor, received_at, len(files)),
    )
    columns = (
        "COPY documents.upload_files (batch_id, number, source, name, path, refused_outcome,"
        " refused_reason, sha256, size_bytes, modified_ns) FROM STDIN"
    )
    with conn.cursor() as cursor, cursor.copy(columns) as copy:
        for number, file in enumerate(files, 1):
            copy.write_row(
                (
                    batch_id,
                    number,
                    source,
                    _storable(file.name),
                    file.path or None,
                    file.outcome or None,
                    file.reason or None,
                    file.sha256 or None,
                    file.size_bytes,
                    file.modified_ns,
                )
            )


def read_upload_progress(
    conn: psycopg.Connection, batch_id: UUID, *, now: datetime
) -> UploadProgress | None:
    """How far a batch is; None if there is no such batch."""
    row = conn.execute(read_query("count_upload_outcomes"), {"batch_id": batch_id}).fetchone()
    if row is None:
        return None
    source, actor, received_at, total, completed, failed, ended_since = row
    waiting = total - completed - failed
    eta_seconds = None
    if waiting == 0:
        eta_seconds = 0.0
    elif ended_since:
        eta_seconds = round((now - received_at).total_seconds() * waiting / ended_since, 1)
    return UploadProgress(
        batch_id, source, actor, received_at, total, completed, failed, eta_seconds
    )


def list_uploaded(
    conn: psycopg.Connection, batch_id: UUID, *, is_failed: bool, after: int = 0, limit: int = 100
) -> list[UploadedFile]:
    """Files of a batch that ended, in the order they were sent.

    Args:
        is_failed: Those that failed, or those whose text was read.
        after: Number of the last one known.
    """
    with conn.cursor(row_factory=class_row(UploadedFile)) as cursor:
        return cursor.execute(
            "SELECT number, name, path, outcome, coalesce(reason, '') AS reason"
            " FROM documents.upload_states"
            " WHERE batch_id = %s AND number > %s AND (outcome <> 'ok') = %s"
            " ORDER BY number LIMIT %s",
            (batch_id, after, is_failed, limit),
        ).fetchall()


def note_vanished(conn: psycopg.Connection, source: DocumentSource, batch_id: UUID) -> int:
    """Tell the seen-set of files that were deleted before any scan met them; the caller commits.

    Without it a batch would wait for them for ever.

    Returns:
        Files that were noted.
    """
    folder = open_folder(source)
    if not (isinstance(folder, LocalFolder) and folder.root.is_dir()):
        return 0
    unseen = conn.execute(
        "SELECT path FROM documents.upload_states"
        " WHERE batch_id = %s AND source = %s AND outcome IS NULL AND NOT is_seen",
        (batch_id, source.name),
    ).fetchall()
    gone = [path for (path,) in unseen if not os.path.lexists(folder.root / path)]
    noted = conn.execute(
        "INSERT INTO documents.files (source, path, arrival_day, size_bytes, modified_ns, state)"
        " SELECT source, path, (to_timestamp(modified_ns / 1e9) AT TIME ZONE 'UTC')::date,"
        " size_bytes, modified_ns, 'deleted' FROM documents.upload_files"
        " WHERE batch_id = %s AND path = ANY (%s) ON CONFLICT DO NOTHING",
        (batch_id, gone),
    )
    return noted.rowcount


def _storable(name: str) -> str:
    """A name as it was sent, without what PostgreSQL cannot store."""
    return name.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
