"""Scans of a landing folder at a fixed time, and what they leave in the database."""

import os
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from batch_assets.sources.documents.landing import ScanReport, scan_source
from batch_assets.sources.documents.landing_folder import (
    NamePatterns,
    open_folder,
)
from batch_assets.sources.documents.sources import DocumentSource

NOW = datetime(2024, 10, 1, 12, tzinfo=UTC)


OLD = datetime(2024, 9, 30, 8, tzinfo=UTC).timestamp()


EVERYTHING = NamePatterns(("*",), ())


def write(path: Path, text: str = "text", *, changed: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (changed, changed))
    return path


def source_of(root: Path, **values: object) -> DocumentSource:
    return DocumentSource(**{"name": "inbox", "url": str(root), **values})  # type: ignore[arg-type]


def scan(
    conn: psycopg.Connection, source: DocumentSource, *, after: str = "", now: datetime = NOW
) -> ScanReport:
    report = scan_source(conn, source, open_folder(source), now=now, after=after)
    conn.commit()
    return report


def states(conn: psycopg.Connection) -> dict[str, str]:
    rows = conn.execute("SELECT path, state FROM documents.files ORDER BY path").fetchall()
    return dict(rows)


def finish(conn: psycopg.Connection, path: str) -> None:
    """Make a file what it is after its document was stored."""
    conn.execute(
        "UPDATE documents.files SET state = 'done', outcome = 'ok', document_id = 1 "
        "WHERE path = %s",
        (path,),
    )
    conn.execute(
        "INSERT INTO documents.documents (document_id, source, path, version, arrival_day, "
        "sha256, size_bytes, outcome, load_id) "
        "VALUES (1, 'inbox', %s, 1, '2024-09-30', 'x', 1, 'ok', 1)",
        (path,),
    )
    conn.execute("INSERT INTO documents.texts VALUES (1, 'text', 1)")
    conn.commit()
