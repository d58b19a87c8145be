"""Loads that failed lately, tables that were written lately, rows that nobody has answered."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from batch_assets.postgres.sql_files import read_query

# Enough for a screen; `errors` and `dead-letters` list all.
SHOWN_FAILURES = 8
# What "lately" means for tables; the page says so.
RECENT_LOADS = 5_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed.

    Attributes:
        message: What was seen, what was expected, what to do.
        run_id: Of Dagster; None for loads of commands.
        is_mended: A later load of the same window ended well.
    """

    load_id: int
    target: str
    scope: str
    window_key: str
    source_file: str | None
    error_class: str
    message: str
    rows_rejected: int
    run_id: str | None
    backfill_id: int | None
    happened_at: datetime
    is_mended: bool


@dataclass(frozen=True, slots=True)
class TableActivity:
    """How the loads of a table ended, among the newest RECENT_LOADS of all tables."""

    target: str
    good: int
    open: int
    failed: int
    running: int
    rows_written: int
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """Rows of a table that were not loaded and that nobody has answered."""

    target: str
    open: int
    commonest_rule: str
    oldest_at: datetime
    newest_at: datetime


def read_failures(conn: psycopg.Connection, limit: int = SHOWN_FAILURES) -> list[Failure]:
    """The newest loads that failed, newest first."""
    with conn.cursor(row_factory=class_row(Failure)) as cursor:
        return cursor.execute(read_query("read_recent_failures"), {"limit": limit}).fetchall()


def read_activity(conn: psycopg.Connection) -> list[TableActivity]:
    """Tables written lately, the newest first."""
    with conn.cursor(row_factory=class_row(TableActivity)) as cursor:
        return cursor.execute(
            read_query("summarize_recent_loads"), {"loads": RECENT_LOADS}
        ).fetchall()


def read_open_letters(conn: psycopg.Connection) -> list[OpenLetters]:
    """Tables with open dead letters, the most first."""
    with conn.cursor(row_factory=class_row(OpenLetters)) as cursor:
        return cursor.execute(read_query("summarize_open_letters")).fetchall()
