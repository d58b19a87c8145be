"""Health and metrics of devices at the paths of the original batch processor."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from batch_assets.ops.api.authentication import Reader
from batch_assets.ops.api.context import ApiContext, Context
from batch_assets.ops.api.failures import PROBLEMS
from batch_assets.ops.device_health import (
    DeviceActivity,
    Health,
    ShardActivity,
    health_document,
    indicators,
    queue_details,
    read_activity,
    read_newest_batches,
    resource_details,
    summary_document,
)

router = APIRouter(prefix="/api/batch_processor", tags=["devices"], responses=PROBLEMS)


class CheckAnswer(BaseModel):
    """One verdict and what it is from."""

    status: Health
    details: dict[str, Any]


class ChecksAnswer(BaseModel):
    """The worst of them is the status of all."""

    batch_processor: CheckAnswer
    system_resources: CheckAnswer
    queue_health: CheckAnswer


class HealthSummary(BaseModel):
    """Ratios from 0 to 1 but the last, which is percent."""

    total_processed: int
    error_rate: float
    queue_utilization: float
    memory_usage_percent: float


class HealthAnswer(BaseModel):
    """How devices are."""

    status: Health
    timestamp: datetime
    checks: ChecksAnswer
    summary: HealthSummary


class MetricsAnswer(BaseModel):
    """Without details `summary`; with them the three below it; with a shard `shard_detail`."""

    model_config = ConfigDict(extra="forbid")

    timestamp: datetime
    summary: dict[str, float] | None = None
    batch_processing: dict[str, Any] | None = None
    system_resources: dict[str, Any] | None = None
    performance_indicators: dict[str, float] | None = None
    shard_detail: dict[str, Any] | None = None


class UnknownShard(BaseModel):
    """What the original answered."""

    error: str


@router.get(
    "/health",
    summary="Health of devices",
    responses={503: {"model": HealthAnswer, "description": "Unhealthy."}},
)
def health(_: Reader, context: Context, response: Response) -> HealthAnswer:
    """200 for healthy and degraded, 503 for unhealthy."""
    with context.transaction() as conn:
        activity = read_activity(conn, context.settings)
    answer = health_document(activity, context.meter.read(), context.now())
    if answer["status"] is Health.UNHEALTHY:
        response.status_code = 503
    return HealthAnswer.model_validate(answer, from_attributes=True)


@router.get(
    "/metrics",
    summary="Figures of devices",
    response_model=MetricsAnswer,
    response_model_exclude_unset=True,
    responses={404: {"model": UnknownShard, "description": "There is no such shard."}},
)
def metrics(
    _: Reader,
    context: Context,
    details: bool = False,
    shard_id: Annotated[int | None, Query(ge=0, le=32_767)] = None,
) -> dict[str, Any] | JSONResponse:
    """Of the last hour; `shard_id` adds one shard."""
    with context.transaction() as conn:
        activity = read_activity(conn, context.settings)
        newest = read_newest_batches(conn, shard_id) if details or shard_id is not None else []
    chosen = next((one for one in activity.shards if one.shard == shard_id), None)
    if shard_id is not None and chosen is None:
        return JSONResponse({"error": f"Shard {shard_id} not found"}, 404)
    answer = _figures(context, activity, newest, is_detailed=details)
    if chosen is not None:
        answer["shard_detail"] = _shard(chosen, activity, newest)
    return answer


def _figures(
    context: ApiContext,
    activity: DeviceActivity,
    newest: list[dict[str, Any]],
    *,
    is_detailed: bool,
) -> dict[str, Any]:
    now = context.now()
    if not is_detailed:
        summary = {
            "total_processed": activity.total.records,
            "total_errors": activity.total.errors,
            "shard_count": len(activity.shards),
            **indicators(activity),
        }
        return {"timestamp": now, "summary": summary}
    return {
        "timestamp": now,
        "batch_processing": {
            "service": "batch_processor",
            "summary": summary_document(activity, now),
            "detailed_metrics": newest,
        },
        "system_resources": resource_details(activity, context.meter.read(), now),
        "performance_indicators": indicators(activity),
    }


def _shard(
    one: ShardActivity, activity: DeviceActivity, newest: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "shard_id": one.shard,
        **queue_details(one, activity),
        "oldest_waiting_seconds": one.oldest_seconds,
        "detailed_metrics": newest,
    }
