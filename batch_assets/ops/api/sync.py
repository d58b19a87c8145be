"""The date-range sync of the original service: start one, ask how far it is.

Paths, fields and texts are its own; statuses are those of HTTP instead of 200 for everything.
"""

import re
from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from batch_assets.ops.api.authentication import Launcher, require
from batch_assets.ops.api.context import Context
from batch_assets.ops.api.failures import SYNC_PREFIX, SYNC_PROBLEMS, SyncProblem
from batch_assets.ops.backfills.market import find_feed_name, request_range
from batch_assets.ops.backfills.requests import launch
from batch_assets.ops.backfills.sync_status import (
    INLINE_ERRORS,
    SyncStatus,
    find_task,
    language_of_clients,
    read_sync_status,
    started_message,
    task_id_of,
)
from batch_assets.ops.display import read_display, zone_of
from batch_assets.ops.language import Language
from batch_assets.ops.scope import Scope

router = APIRouter(prefix=f"{SYNC_PREFIX}/sync/batch", tags=["sync"], responses=SYNC_PROBLEMS)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _only_iso_day(value: object) -> object:
    """Numbers and times of day are dates to pydantic; to a client that sends them they are not."""
    if isinstance(value, str) and _DAY.fullmatch(value):
        return value
    raise ValueError("expected a date as 2025-10-01")


Day = Annotated[date, BeforeValidator(_only_iso_day)]
Lang = Annotated[
    Language | None, Query(description="Of the message; default: [display] language, else zh.")
]


class SyncRequest(BaseModel):
    """A range of days; what else it says is ours."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"start_date": "2025-10-01", "end_date": "2025-10-09"}]}
    )

    start_date: Day
    end_date: Day
    feed: str | None = Field(default=None, description="Default: [market] default_feed.")
    force: bool = Field(default=False, strict=True, description="Fetch days that are there, too.")


class StartedData(BaseModel):
    """The task that loads the range.

    Attributes:
        task_id: Ask for its progress with it.
        backfill_id: The number of it everywhere else.
        is_new: False where the same range was running already.
    """

    task_id: str
    total_days: int
    message: str
    backfill_id: int
    is_new: bool


class StartedAnswer(BaseModel):
    """The start of a sync."""

    status: Literal["success"] = "success"
    data: StartedData


class ProgressAnswer(BaseModel):
    """How far a task is."""

    status: Literal["success"] = "success"
    data: SyncStatus


@router.post(
    "",
    status_code=202,
    summary="Load a range of days",
    responses={409: {"model": SyncProblem, "description": "Some of the days are being loaded."}},
)
def start(body: SyncRequest, token: Launcher, context: Context, lang: Lang = None) -> StartedAnswer:
    """Load every day of a range; the same range again answers with the task that runs."""
    request = request_range(
        context.settings,
        body.feed,
        body.start_date,
        body.end_date,
        is_forced=body.force,
        now=context.now(),
    )
    with context.transaction() as conn:
        launched = launch(conn, request, token.name)
    language = language_of_clients(read_display(context.settings), lang)
    backfill = launched.backfill
    data = StartedData(
        task_id=task_id_of(backfill, find_feed_name(context.settings)),
        total_days=backfill.partitions,
        message=started_message(backfill, language),
        backfill_id=backfill.backfill_id,
        is_new=launched.is_new,
    )
    return StartedAnswer(data=data)


@router.get(
    "/progress/{task_id}",
    summary="How far a task is",
    dependencies=[Depends(require(Scope.READ))],
    responses={404: {"model": SyncProblem, "description": "There is no such task."}},
)
def progress(
    task_id: str,
    context: Context,
    errors_before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    errors_limit: Annotated[int, Query(ge=1, le=1_000)] = INLINE_ERRORS,
    lang: Lang = None,
) -> ProgressAnswer:
    """Counts, times and the newest errors; `errors_before` asks for older ones."""
    settings = context.settings
    language = language_of_clients(read_display(settings), lang)
    with context.transaction() as conn:
        backfill = find_task(conn, task_id, find_feed_name(settings))
        status = read_sync_status(
            conn,
            backfill.backfill_id,
            zone=zone_of(settings, backfill.feed),
            language=language,
            now=context.now(),
            estimates=context.estimates,
            errors_before=errors_before,
            errors_limit=errors_limit,
        )
    return ProgressAnswer(data=status)
