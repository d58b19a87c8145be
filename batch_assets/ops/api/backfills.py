"""Backfills over HTTP: launch, look, pause, resume, cancel, retry, reorder; who did what.

Live progress is in live.py. The bodies of the original service are in sync.py.
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from batch_assets.ops.api.authentication import Launcher, require
from batch_assets.ops.api.backfill_answers import (
    AuditAnswer,
    BackfillAnswer,
    BackfillListAnswer,
    ErrorListAnswer,
    FeedAnswer,
    LaunchAnswer,
    ProgressAnswer,
)
from batch_assets.ops.api.context import ApiContext, Context
from batch_assets.ops.api.failures import PROBLEMS, Problem
from batch_assets.ops.api.sync import Day
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.documents import (
    backfill_document,
    error_document,
    progress_document,
)
from batch_assets.ops.backfills.market import find_feed_name, request_range
from batch_assets.ops.backfills.read import (
    list_backfills,
    list_paused_feeds,
    read_audit,
    read_backfill,
    read_errors,
    read_progress,
)
from batch_assets.ops.backfills.requests import launch as launch_backfill
from batch_assets.ops.backfills.values import Backfill
from batch_assets.ops.display import zone_of
from batch_assets.ops.scope import Scope
from batch_assets.runs.backfill_states import BACKFILL_PRIORITY

_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such backfill."}
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "It has ended, or others load the same days."}
}

router = APIRouter(prefix="/api/v1", tags=["backfills"], responses=PROBLEMS)

# What the server's bigint holds.
BackfillId = Annotated[int, Path(ge=1, le=2**63 - 1)]
FeedName = Annotated[str, Path(pattern=r"^[\w.-]{1,64}$")]
Priority = Annotated[int, Field(ge=-1000, le=1000, strict=True)]
READS = [Depends(require(Scope.READ))]


class LaunchBody(BaseModel):
    """What to load.

    Attributes:
        first: First trade date.
        last: Last trade date; left out, the newest that is due.
        feed: Left out, the default one.
        symbols: Fetch these alone.
        force: Fetch days that are there, too.
        priority: Larger goes first; schedules have 0.
    """

    first: Day = Field(examples=["2025-10-01"])
    last: Day | None = Field(default=None, examples=["2025-10-09"])
    feed: str | None = None
    symbols: list[str] = Field(default=[], max_length=10_000)
    force: bool = Field(default=False, strict=True)
    priority: Priority = BACKFILL_PRIORITY


class PriorityBody(BaseModel):
    """Where it belongs among what waits."""

    priority: Priority


@router.post("/backfills", status_code=202, summary="Launch a backfill", responses=_REFUSED)
def launch(body: LaunchBody, token: Launcher, context: Context) -> LaunchAnswer:
    """Load a range of days; the same request again answers with the one that runs."""
    request = request_range(
        context.settings,
        body.feed,
        body.first,
        body.last,
        symbols=tuple(body.symbols),
        is_forced=body.force,
        priority=body.priority,
        now=context.now(),
    )
    with context.transaction() as conn:
        launched = launch_backfill(conn, request, token.name)
    return LaunchAnswer(backfill=_answer(context, launched.backfill), is_new=launched.is_new)


@router.get("/backfills", summary="List backfills, newest first", dependencies=READS)
def history(
    context: Context,
    feed: Annotated[str | None, Query(pattern=r"^((tables|documents)/)?[\w.-]{1,64}$")] = None,
    unfinished: bool = False,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> BackfillListAnswer:
    """A page of them; `next_before` asks for the next one."""
    with context.transaction() as conn:
        found = list_backfills(
            conn, is_unfinished=unfinished, feed=feed, before_id=before, limit=limit
        )
    return BackfillListAnswer(
        backfills=[_answer(context, item) for item in found],
        next_before=found[-1].backfill_id if len(found) == limit else None,
    )


@router.get(
    "/backfills/{backfill_id}", summary="How far it is", dependencies=READS, responses=_UNKNOWN
)
def progress(backfill_id: BackfillId, context: Context) -> ProgressAnswer:
    """Partitions by outcome, rows, speed and the expected end."""
    with context.transaction() as conn:
        found = read_progress(conn, backfill_id, context.now(), context.estimates)
    zone = zone_of(context.settings, found.backfill.feed)
    return ProgressAnswer.model_validate(progress_document(found, zone))


@router.get(
    "/backfills/{backfill_id}/errors",
    summary="What did not end well",
    dependencies=READS,
    responses=_UNKNOWN,
)
def errors(
    backfill_id: BackfillId,
    context: Context,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> ErrorListAnswer:
    """A page of partitions, newest first; no cap on how many there are."""
    with context.transaction() as conn:
        page = read_errors(conn, backfill_id, before_position=before, limit=limit)
        zone = zone_of(context.settings, read_backfill(conn, backfill_id).feed)
    return ErrorListAnswer.model_validate(
        {
            "errors": [error_document(item, zone) for item in page.errors],
            "total": page.total,
            "next_before": page.next_before,
        }
    )


@router.get(
    "/backfills/{backfill_id}/audit",
    summary="Who did what to it",
    dependencies=READS,
    responses=_UNKNOWN,
)
def audit(
    backfill_id: BackfillId,
    context: Context,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50,
) -> list[AuditAnswer]:
    """Changes, newest first."""
    with context.transaction() as conn:
        read_backfill(conn, backfill_id)
        entries = read_audit(conn, action="backfill.", subject=str(backfill_id), limit=limit)
    return [AuditAnswer.model_validate(asdict(entry)) for entry in entries]


@router.post(
    "/backfills/{backfill_id}/pause",
    summary="Begin no more of it",
    responses={**_UNKNOWN, **_REFUSED},
)
def pause(backfill_id: BackfillId, token: Launcher, context: Context) -> BackfillAnswer:
    """Partitions being loaded end; `paused` is reached when they have."""
    with context.transaction() as conn:
        return _answer(context, changes.pause(conn, backfill_id, token.name))


@router.post("/backfills/{backfill_id}/resume", summary="Go on", responses={**_UNKNOWN, **_REFUSED})
def resume(backfill_id: BackfillId, token: Launcher, context: Context) -> BackfillAnswer:
    """Go on with one that is paused."""
    with context.transaction() as conn:
        return _answer(context, changes.resume(conn, backfill_id, token.name))


@router.post(
    "/backfills/{backfill_id}/cancel", summary="End it", responses={**_UNKNOWN, **_REFUSED}
)
def cancel(backfill_id: BackfillId, token: Launcher, context: Context) -> BackfillAnswer:
    """Stop its runs; what is committed stays."""
    with context.transaction() as conn:
        return _answer(context, changes.cancel(conn, backfill_id, token.name))


@router.post(
    "/backfills/{backfill_id}/retry",
    status_code=202,
    summary="Load what failed again",
    responses={**_UNKNOWN, **_REFUSED},
)
def retry(backfill_id: BackfillId, token: Launcher, context: Context) -> LaunchAnswer:
    """What did not end well, as a new backfill; the first one has to have ended."""
    with context.transaction() as conn:
        launched = changes.retry_failed(conn, backfill_id, token.name)
    return LaunchAnswer(backfill=_answer(context, launched.backfill), is_new=launched.is_new)


@router.put(
    "/backfills/{backfill_id}/priority", summary="Reorder it", responses={**_UNKNOWN, **_REFUSED}
)
def priority(
    backfill_id: BackfillId, body: PriorityBody, token: Launcher, context: Context
) -> BackfillAnswer:
    """Put it before or behind what else waits."""
    with context.transaction() as conn:
        return _answer(context, changes.set_priority(conn, backfill_id, body.priority, token.name))


@router.get("/paused-feeds", summary="Feeds that are paused", dependencies=READS)
def paused_feeds(context: Context) -> list[FeedAnswer]:
    """By whom, and since when."""
    with context.transaction() as conn:
        found = list_paused_feeds(conn)
    zone = zone_of(context.settings)
    return [
        FeedAnswer(feed=feed, is_paused=True, paused_by=who, paused_at=since.astimezone(zone))
        for feed, who, since in found
    ]


@router.post("/feeds/{feed}/pause", summary="Begin no more of a feed")
def pause_feed(feed: FeedName, token: Launcher, context: Context) -> FeedAnswer:
    """Whoever launched it; partitions being loaded end."""
    name = find_feed_name(context.settings, feed)
    with context.transaction() as conn:
        changes.pause_feed(conn, name, token.name)
    return FeedAnswer(feed=name, is_paused=True)


@router.post("/feeds/{feed}/resume", summary="Go on with a feed")
def resume_feed(feed: FeedName, token: Launcher, context: Context) -> FeedAnswer:
    """Also of a feed that is not configured any more."""
    with context.transaction() as conn:
        changes.resume_feed(conn, feed, token.name)
    return FeedAnswer(feed=feed, is_paused=False)


def _answer(context: ApiContext, backfill: Backfill) -> BackfillAnswer:
    zone = zone_of(context.settings, backfill.feed)
    return BackfillAnswer.model_validate(backfill_document(backfill, zone))
