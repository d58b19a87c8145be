"""Documents that failed, in words: what was seen, and what a person can do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg.rows import class_row

from batch_assets.ingest.documents.read import FileFault
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.outcome import DocumentOutcome, Language, reason_of

# What a fault of the file itself means, beside the outcomes of its content.
_FAULT_MEANINGS: dict[str, dict[Language, str]] = {
    FileFault.REFUSED: {
        "en": "It is no plain file of the landing folder.",
        "zh": "它不是投放文件夹中的普通文件。",
    },
    FileFault.VANISHED: {
        "en": "The file was gone when it was going to be read.",
        "zh": "读取时文件已不存在。",
    },
    FileFault.UNREADABLE: {
        "en": "The file is there and cannot be opened.",
        "zh": "文件存在，但无法打开。",
    },
}


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """One file that has no text, as it is now.

    Attributes:
        source: Whose landing folder it is in.
        path: Relative to that folder.
        arrival_day: The partition.
        outcome: How it ended; a DocumentOutcome or FileFault.
        reason: What was seen, in English.
        size_bytes: Of the file.
        attempts: How often it was tried as it is.
        finished_at: When it ended.
    """

    source: str
    path: str
    arrival_day: date
    outcome: str
    reason: str
    size_bytes: int
    attempts: int
    finished_at: datetime | None


def meaning_of(outcome: str, language: Language = "en") -> str:
    """What an outcome means, in plain words; any DocumentOutcome or FileFault."""
    if outcome in _FAULT_MEANINGS:
        return _FAULT_MEANINGS[outcome][language]
    return reason_of(DocumentOutcome(outcome), language)


def read_failed_documents(
    conn: psycopg.Connection, *, source: str | None = None, day: date | None = None
) -> Iterator[FailedDocument]:
    """Every file that failed and is still in its folder, by source, day and path.

    Rows are fetched as they are asked for; the connection is in a transaction until the last one.
    """
    with conn.cursor(
        name="failed_documents", row_factory=class_row(FailedDocument), scrollable=False
    ) as cursor:
        cursor.itersize = 1_000
        cursor.execute(read_query("read_failed_documents"), {"source": source, "day": day})
        yield from cursor
