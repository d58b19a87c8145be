"""Which days of a source have something to read, for those who start runs."""

import json
from dataclasses import dataclass
from datetime import date

import psycopg
from psycopg.rows import class_row

from batch_assets.ingest.documents.read import chunk_settings
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.readers import processing_fingerprints
from batch_assets.sources.documents.sources import DocumentSource


@dataclass(frozen=True, slots=True)
class WaitingDay:
    """The files of one arrival day that wait to be read.

    Attributes:
        day: Arrival day.
        waiting: Their number, at least 1.
        growing: Files of the day that may still be written.
        waiting_seconds: Since the first of them was seen as it is.
        fingerprint: Of their paths, sizes and times; another one when one of them has ended.
    """

    day: date
    waiting: int
    growing: int
    waiting_seconds: float
    fingerprint: str


def read_waiting_sets(conn: psycopg.Connection, source: str) -> list[WaitingDay]:
    """Days with files that wait, oldest first."""
    with conn.cursor(row_factory=class_row(WaitingDay)) as cursor:
        return cursor.execute(
            read_query("read_waiting_document_sets"), {"source": source}
        ).fetchall()


def count_failed_by_day(conn: psycopg.Connection, source: str) -> dict[date, int]:
    """Days with files that failed, oldest first, with their number."""
    rows = conn.execute(
        "SELECT arrival_day, count(*) FROM documents.files "
        "WHERE source = %s AND state = 'failed' GROUP BY 1 ORDER BY 1",
        (source,),
    ).fetchall()
    return dict(rows)


def count_outdated_by_day(conn: psycopg.Connection, source: DocumentSource) -> dict[date, int]:
    """Days with documents that another parser version or other chunk settings would change."""
    fingerprints = processing_fingerprints(chunk_settings(source))
    rows = conn.execute(
        read_query("count_outdated_documents"),
        {"source": source.name, "fingerprints": json.dumps(dict(fingerprints))},
    ).fetchall()
    return dict(rows)
