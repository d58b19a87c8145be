"""Backfills in the shape of the original date-range sync: task ids, statuses, counts, texts.

Clients of that service read these fields by name. Ours are added beside them, none is left out.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import psycopg

from batch_assets.errors import UnknownBackfill
from batch_assets.ops.backfills.read import read_backfill, read_errors, read_progress
from batch_assets.ops.backfills.texts import headline, outcome_counts
from batch_assets.ops.backfills.values import Backfill, ErrorPage, Progress
from batch_assets.ops.display import DisplaySettings
from batch_assets.ops.language import Language
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.eta_records import KeptEstimates

# What the old service kept of them; all are there page by page.
INLINE_ERRORS = 10

# `2025-10-01_2025-10-09_1697587200`; feeds other than the default one follow behind.
_TASK = re.compile(
    r"(?P<first_key>\d{4}-\d\d-\d\d)_(?P<last_key>\d{4}-\d\d-\d\d)_(?P<requested_epoch>\d{1,12})"
    r"(?:_(?P<feed>[\w.-]{1,64}))?"
)
# What is not here keeps the name of its phase: paused, partial, failed.
_STATUS = {
    "requested": "running",
    "pausing": "running",
    "canceling": "running",
    "success": "completed",
    "canceled": "cancelled",
}

_STARTED = {
    Language.CHINESE: "批量同步任务已启动，将同步 {days} 天的数据",
    Language.ENGLISH: "batch sync started; it loads {days} days",
}
_ALREADY_RUNNING = {
    Language.CHINESE: "已有同步任务正在运行",
    Language.ENGLISH: "a sync is running already",
}


class TaskStatus(StrEnum):
    """How far a task is, in the words of the old service and, from `paused` on, in ours."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class SyncError:
    """A day that did not end well, as the old service told it."""

    date: str
    error: str
    time: datetime | None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """Progress as the old service told it, and below it what it could not tell.

    Attributes:
        total: Days of the range.
        current: Days with an outcome.
        success: Loaded.
        failed: Not loaded; after the end also what was never begun.
        skipped: Not a session, or there already.
        current_date: The day that was begun last.
        progress_percent: 0 to 100.
        duration_seconds: From start to end; None before the end.
        estimated_completion: As likely before as after.
        errors: A page of them, newest first.
        errors_total: On all pages.
        next_errors_before: Send it as `errors_before` for the next page; None at the end.
        phase: How far it is in our words: also requested, pausing, canceling.
        no_data: Days the source has no data for yet, counted in current alone.
    """

    status: TaskStatus
    total: int
    current: int
    success: int
    failed: int
    skipped: int
    current_date: str | None
    message: str
    progress_percent: float
    start_time: datetime
    end_time: datetime | None
    duration_seconds: float | None
    estimated_completion: datetime | None
    errors: list[SyncError]
    errors_total: int
    next_errors_before: int | None
    backfill_id: int
    phase: str
    no_data: int
    rows_read: int
    rows_rejected: int
    rows_per_second: float | None


def language_of_clients(display: DisplaySettings, chosen: Language | None) -> Language:
    """What was asked for, else what is configured, else what the old service spoke: Chinese."""
    return chosen or display.language or Language.CHINESE


def task_id_of(backfill: Backfill, default_feed: str) -> str:
    """The id by which clients of the old service ask for a backfill."""
    requested_epoch = int(backfill.requested_at.timestamp())
    task_id = f"{backfill.first_key}_{backfill.last_key}_{requested_epoch}"
    return task_id if backfill.feed == default_feed else f"{task_id}_{backfill.feed}"


def find_task(conn: psycopg.Connection, task_id: str, default_feed: str) -> Backfill:
    """The backfill of a task id.

    Raises:
        UnknownBackfill: There is none.
    """
    form = _TASK.fullmatch(task_id)
    row = None
    if form is not None:
        values = {**form.groupdict(), "default_feed": default_feed}
        values["requested_epoch"] = int(form["requested_epoch"])
        row = conn.execute(read_query("find_sync_task"), values).fetchone()
    if row is None:
        raise UnknownBackfill(
            f"there is no task {task_id!r}, expected the task_id that the start of a sync was "
            "answered with"
        )
    return read_backfill(conn, int(row[0]))


def started_message(backfill: Backfill, language: Language) -> str:
    """What the start of a sync is answered with."""
    return _STARTED[language].format(days=backfill.partitions)


def already_running_message(language: Language) -> str:
    """What the start of an overlapping sync is answered with."""
    return _ALREADY_RUNNING[language]


def read_sync_status(
    conn: psycopg.Connection,
    backfill_id: int,
    *,
    zone: ZoneInfo,
    language: Language,
    now: datetime,
    estimates: KeptEstimates | None = None,
    errors_before: int | None = None,
    errors_limit: int = INLINE_ERRORS,
) -> SyncStatus:
    """How far a backfill is, in the old shape; times with their offset.

    Raises:
        UnknownBackfill: There is none of that number.
    """
    progress = read_progress(conn, backfill_id, now, estimates)
    page = ErrorPage((), 0, None)
    if progress.has_errors:
        page = read_errors(conn, backfill_id, before_position=errors_before, limit=errors_limit)
    errors = [
        SyncError(
            date=error.partition_key,
            error=error.message or error.state,
            time=_shown(error.happened_at, zone),
        )
        for error in page.errors
    ]
    return _as_status(progress, errors, page.total, page.next_before, zone, language)


def _as_status(
    progress: Progress,
    errors: list[SyncError],
    errors_total: int,
    next_errors_before: int | None,
    zone: ZoneInfo,
    language: Language,
) -> SyncStatus:
    backfill = progress.backfill
    start_time = (backfill.started_at or backfill.requested_at).astimezone(zone)
    return SyncStatus(
        status=TaskStatus(_STATUS.get(backfill.phase, backfill.phase)),
        total=progress.total,
        current=progress.done,
        **outcome_counts(progress),
        current_date=progress.current_key,
        # The old clients put a mark of their own before it.
        message=headline(progress, language).removeprefix("🔄 "),
        progress_percent=round(progress.done_pct, 1),
        start_time=start_time,
        end_time=_shown(backfill.ended_at, zone),
        duration_seconds=None if progress.seconds is None else round(progress.seconds, 3),
        estimated_completion=_shown(progress.eta.p50_at, zone) if progress.eta else None,
        errors=errors,
        errors_total=errors_total,
        next_errors_before=next_errors_before,
        backfill_id=backfill.backfill_id,
        phase=backfill.phase,
        no_data=progress.not_ready + progress.unconfirmed_empty,
        rows_read=progress.rows_read,
        rows_rejected=progress.rows_rejected,
        rows_per_second=progress.rows_per_second,
    )


def _shown(instant: datetime | None, zone: ZoneInfo) -> datetime | None:
    return None if instant is None else instant.astimezone(zone)
