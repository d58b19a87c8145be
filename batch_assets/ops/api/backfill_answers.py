"""What the routes of backfills answer, field by field.

The values are those of the command line's --json (ops/backfills/documents.py); fields that come
to them later pass as they are.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from batch_assets.runs.backfill_states import BackfillState, Wanted


class BackfillAnswer(BaseModel):
    """A backfill; times with their offset.

    Attributes:
        phase: The state as a person reads it: also `pausing` and `canceling`.
        wanted: What people asked for last.
        problem: Why it does not go on by itself; empty if it does.
        retry_of: The backfill whose failed partitions these are.
        dagster_backfill_ids: Dagster's own, oldest first.
    """

    model_config = ConfigDict(extra="allow")

    backfill_id: int
    asset_key: str
    feed: str
    first_key: str
    last_key: str
    partitions: int
    is_forced: bool
    symbols: list[str]
    priority: int
    wanted: Wanted
    state: BackfillState
    phase: str
    is_feed_paused: bool
    problem: str
    retry_of: int | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    dagster_backfill_ids: list[str]


class LaunchAnswer(BaseModel):
    """A backfill that was asked for; `is_new` is false where the same one was running."""

    backfill: BackfillAnswer
    is_new: bool


class BackfillListAnswer(BaseModel):
    """A page; `next_before` is null on the last one."""

    backfills: list[BackfillAnswer]
    next_before: int | None


class EtaAnswer(BaseModel):
    """When the end is expected: before p50 as likely as after, before p90 in 9 of 10."""

    model_config = ConfigDict(extra="allow")

    p50_at: datetime
    p90_at: datetime


class ProgressAnswer(BaseModel):
    """A backfill at one moment: partitions by outcome, rows of those that ended, speed, end."""

    model_config = ConfigDict(extra="allow")

    backfill: BackfillAnswer
    total: int
    done: int
    done_pct: float
    seconds: float | None
    success: int
    partial: int
    failed: int
    skipped: int
    not_ready: int
    unconfirmed_empty: int
    running: int
    waiting: int
    current_key: str | None
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_duplicate: int
    rows_rejected: int
    rows_skipped: int
    rows_per_second: float | None
    symbols_per_second: float | None
    eta: EtaAnswer | None
    updated_at: datetime | None


class ErrorAnswer(BaseModel):
    """A partition that did not end well; `position` is the i of [i/n]."""

    model_config = ConfigDict(extra="allow")

    position: int
    partition_key: str
    state: str
    error_class: str
    message: str
    load_id: int | None
    run_id: str | None
    rows_rejected: int
    happened_at: datetime | None


class ErrorListAnswer(BaseModel):
    """A page, newest first; `next_before` is null on the last one, `total` counts all pages."""

    errors: list[ErrorAnswer]
    total: int
    next_before: int | None


class AuditAnswer(BaseModel):
    """A change that somebody made."""

    happened_at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class FeedAnswer(BaseModel):
    """Whether a feed is paused."""

    feed: str
    is_paused: bool
    paused_by: str | None = None
    paused_at: datetime | None = None
