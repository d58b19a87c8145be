"""Questions about backfills: one, many, how far, what went wrong, who did what."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, dict_row

from batch_assets.errors import UnknownBackfill
from batch_assets.ops.backfills.values import (
    AuditEntry,
    Backfill,
    ErrorPage,
    PartitionError,
    PartitionOutcome,
    Progress,
)
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.backfill_states import BackfillState, Wanted
from batch_assets.runs.eta_records import KeptEstimates

# Enough for a page of a person; the whole list is read page by page.
DEFAULT_LIMIT = 50


def read_backfill(conn: psycopg.Connection, backfill_id: int) -> Backfill:
    """One backfill.

    Raises:
        UnknownBackfill: There is none of that number.
    """
    found = _read(conn, backfill_id=backfill_id)
    if not found:
        raise UnknownBackfill(
            f"there is no backfill {backfill_id}, expected one of those that "
            "`batch-assets history` lists"
        )
    return found[0]


def list_backfills(
    conn: psycopg.Connection,
    *,
    is_unfinished: bool = False,
    feed: str | None = None,
    before_id: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> list[Backfill]:
    """Backfills, newest first.

    Args:
        is_unfinished: Only those that have not ended.
        feed: Only of this feed.
        before_id: Only older ones: the last number of the page before.
        limit: The most to return.
    """
    return _read(conn, is_unfinished=is_unfinished, feed=feed, before_id=before_id, limit=limit)


def _read(conn: psycopg.Connection, **wanted: object) -> list[Backfill]:
    parameters: dict[str, object] = {
        "backfill_id": None,
        "before_id": None,
        "feed": None,
        "is_unfinished": False,
        "limit": DEFAULT_LIMIT,
        **wanted,
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(read_query("read_backfills"), parameters).fetchall()
    return [_as_backfill(row) for row in rows]


def _as_backfill(row: dict[str, Any]) -> Backfill:
    return Backfill(
        **{
            **row,
            "symbols": tuple(row["symbols"]),
            "wanted": Wanted(row["wanted"]),
            "state": BackfillState(row["state"]),
            "dagster_backfill_ids": tuple(row["dagster_backfill_ids"]),
        }
    )


def read_progress(
    conn: psycopg.Connection,
    backfill_id: int,
    now: datetime,
    estimates: KeptEstimates | None = None,
) -> Progress:
    """How far a backfill is.

    Args:
        conn: Its transaction is left open.
        backfill_id: Of ops.backfills.
        now: The present, for the estimate of the end.
        estimates: Of who looks again and again.

    Raises:
        UnknownBackfill: There is none of that number.
    """
    backfill = read_backfill(conn, backfill_id)
    with conn.cursor(row_factory=dict_row) as cursor:
        counts = cursor.execute(
            read_query("read_backfill_progress"), {"backfill_id": backfill_id}
        ).fetchone()
    eta = None
    if backfill.is_moving:
        estimates = estimates or KeptEstimates()
        eta = estimates.read(conn, backfill_id, backfill.phase, now)
    return Progress(backfill=backfill, eta=eta, **(counts or {}))


def read_errors(
    conn: psycopg.Connection,
    backfill_id: int,
    *,
    before_position: int | None = None,
    limit: int = DEFAULT_LIMIT,
) -> ErrorPage:
    """Partitions that did not end well, newest first; partitions never begun once it has ended.

    Args:
        before_position: Where the page before ended.
        limit: The most to return; 0 for all.

    Raises:
        UnknownBackfill: There is none of that number.
    """
    read_backfill(conn, backfill_id)
    rows = conn.execute(read_query("read_backfill_errors"), {"backfill_id": backfill_id}).fetchall()
    errors = [
        PartitionError(*row[:9])
        for row in rows
        if before_position is None or row[0] < before_position
    ]
    page = errors[:limit] if limit else errors
    is_last = len(page) == len(errors)
    return ErrorPage(tuple(page), len(rows), None if is_last else page[-1].position)


def read_audit(
    conn: psycopg.Connection,
    *,
    action: str = "",
    subject: str | None = None,
    limit: int | None = 50,
) -> list[AuditEntry]:
    """Changes that somebody made, newest first.

    Args:
        action: Beginning of it: `backfill.` for all about backfills.
        subject: To what; None for all.
        limit: The most to return; None for all.
    """
    with conn.cursor(row_factory=class_row(AuditEntry)) as cursor:
        return cursor.execute(
            "SELECT happened_at, actor, action, subject, detail FROM ops.audit"
            " WHERE starts_with(action, %s) AND (%s::text IS NULL OR subject = %s)"
            " ORDER BY audit_id DESC LIMIT %s",
            (action, subject, subject, limit),
        ).fetchall()


def read_outcomes(conn: psycopg.Connection, backfill_id: int) -> list[PartitionOutcome]:
    """What became of each partition of a backfill, oldest partition first."""
    with conn.cursor(row_factory=class_row(PartitionOutcome)) as cursor:
        return cursor.execute(
            "SELECT partition_key, state, reason,"
            " coalesce(extract(epoch FROM finished_at - started_at), 0)::float8 AS seconds"
            " FROM ops.backfill_outcomes WHERE backfill_id = %s ORDER BY position",
            (backfill_id,),
        ).fetchall()


def list_paused_feeds(conn: psycopg.Connection) -> list[tuple[str, str, datetime]]:
    """Feeds that are paused: name, by whom and since when."""
    rows = conn.execute(
        "SELECT feed, paused_by, paused_at FROM ops.paused_feeds ORDER BY feed"
    ).fetchall()
    return [(str(row[0]), str(row[1]), row[2]) for row in rows]
