"""Health and figures of devices in the shape of the original batch processor.

Thresholds and names are its own. Rates are of the last hour, and ratios (0 to 1) unless their
name ends in percent. How the answer travels is in api/device_health.py.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import dict_row

from batch_assets.ops.resources import Resources
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.devices.contract import RECORDS
from batch_assets.sources.devices.settings import read_device_settings

PERIOD = timedelta(hours=1)
# What the original published of single batches.
_NEWEST_BATCHES = 10


class Health(StrEnum):
    """From good to bad."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Healthy below the first, unhealthy from the second on."""

    degraded: float
    unhealthy: float

    def judge(self, value: float) -> Health:
        """Where a value stands."""
        if value < self.degraded:
            return Health.HEALTHY
        return Health.DEGRADED if value < self.unhealthy else Health.UNHEALTHY


ERROR_RATIO = Bounds(0.05, 0.10)
RESOURCE_PERCENT = Bounds(80, 90)
QUEUE_RATIO = Bounds(0.70, 0.90)


def worst(verdicts: list[Health]) -> Health:
    """The one that counts; healthy where there is none."""
    order = list(Health)
    return max(verdicts, key=order.index, default=Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class ShardActivity:
    """One shard, or all together.

    Attributes:
        shard: None for all together.
        waiting: Records in the inbox.
        records: Of batches that ended within the period; the counts below are of them.
        errors: Rejected, or in an attempt that was rolled back.
    """

    shard: int | None
    waiting: int = 0
    oldest_seconds: float | None = None
    batches: int = 0
    records: int = 0
    success: int = 0
    duplicates: int = 0
    errors: int = 0
    avg_seconds: float = 0.0
    max_seconds: float = 0.0
    min_seconds: float = 0.0
    avg_throughput: float = 0.0
    max_throughput: float = 0.0

    @property
    def error_ratio(self) -> float:
        """0 where nothing was done."""
        return self.errors / self.records if self.records else 0.0


@dataclass(frozen=True, slots=True)
class DeviceActivity:
    """What devices' batches did within the period.

    Attributes:
        shards: In order; none where nothing was ever loaded.
        total: All of them.
        capacity: Records that may wait.
    """

    shards: list[ShardActivity]
    total: ShardActivity
    capacity: int

    @property
    def queue_ratio(self) -> float:
        """Of what may wait, what does."""
        return self.total.waiting / self.capacity

    @property
    def records_per_second(self) -> float:
        """Over the whole period."""
        return self.total.records / PERIOD.total_seconds()


def read_activity(conn: psycopg.Connection, settings: Settings) -> DeviceActivity:
    """What waits and what was done, shard by shard."""
    target = RECORDS.target
    waiting = {
        int(row[0]): (int(row[2]), row[3])
        for row in conn.execute(read_query("read_device_shards"), {"target": target})
    }
    with conn.cursor(row_factory=dict_row) as cursor:
        done = cursor.execute(
            read_query("read_device_activity"),
            {"target": target, "seconds": PERIOD.total_seconds()},
        ).fetchall()
    by_shard = {row["shard"]: row for row in done}
    ages = [age for _, age in waiting.values() if age is not None]
    total = by_shard.pop(None, {"shard": None})
    return DeviceActivity(
        shards=[
            ShardActivity(
                **{"shard": shard, **by_shard.get(shard, {})},
                waiting=waiting.get(shard, (0, None))[0],
                oldest_seconds=waiting.get(shard, (0, None))[1],
            )
            for shard in sorted({*waiting, *by_shard})
        ],
        total=ShardActivity(
            **total,
            waiting=sum(count for count, _ in waiting.values()),
            oldest_seconds=max(ages, default=None),
        ),
        capacity=read_device_settings(settings).inbox_rows_max,
    )


def read_newest_batches(
    conn: psycopg.Connection, shard: int | None = None, limit: int = _NEWEST_BATCHES
) -> list[dict[str, Any]]:
    """The newest batches in the original's fields, oldest first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            read_query("read_newest_device_batches"),
            {"target": RECORDS.target, "shard": shard, "limit": limit},
        ).fetchall()


def health_document(
    activity: DeviceActivity, resources: Resources, now: datetime
) -> dict[str, Any]:
    """The answer of /health: three checks, of which the worst counts, and a summary."""
    checks = {
        "batch_processor": _check(
            ERROR_RATIO.judge(activity.total.error_ratio),
            {
                **_counts(activity.total),
                "oldest_waiting_seconds": activity.total.oldest_seconds,
                "period_seconds": PERIOD.total_seconds(),
            },
        ),
        "system_resources": _check(
            worst(
                [
                    RESOURCE_PERCENT.judge(resources.system.memory_percent),
                    RESOURCE_PERCENT.judge(resources.system.cpu_percent),
                ]
            ),
            resource_details(activity, resources, now),
        ),
        "queue_health": _check(
            QUEUE_RATIO.judge(activity.queue_ratio),
            {f"shard_{one.shard}": queue_details(one, activity) for one in activity.shards},
        ),
    }
    return {
        "status": worst([check["status"] for check in checks.values()]),
        "timestamp": now,
        "checks": checks,
        "summary": {
            "total_processed": activity.total.records,
            "error_rate": activity.total.error_ratio,
            "queue_utilization": activity.queue_ratio,
            "memory_usage_percent": resources.system.memory_percent,
        },
    }


def _check(status: Health, details: dict[str, Any]) -> dict[str, Any]:
    return {"status": status, "details": details}


def _counts(one: ShardActivity) -> dict[str, Any]:
    return {
        "processed": one.records,
        "errors": one.errors,
        "duplicates": one.duplicates,
        "error_rate": one.error_ratio,
    }


def queue_details(one: ShardActivity, activity: DeviceActivity) -> dict[str, Any]:
    """A shard's queue in the original's fields; the shards' utilizations add up to the whole."""
    return {
        "queue_size": one.waiting,
        "utilization": one.waiting / activity.capacity,
        "processed": one.records,
        "errors": one.errors,
        "error_rate": one.error_ratio,
    }


def resource_details(
    activity: DeviceActivity, resources: Resources, now: datetime
) -> dict[str, Any]:
    """Process, system and queue in the original's fields."""
    return {
        "process_metrics": resources.process,
        "system_metrics": resources.system,
        "batch_processor_metrics": {
            "total_queue_size": activity.total.waiting,
            "shard_count": len(activity.shards),
            "processed_total": activity.total.records,
            "error_total": activity.total.errors,
        },
        "timestamp": now,
    }


def indicators(activity: DeviceActivity) -> dict[str, float]:
    """The three figures to look at first; processing_rate is records a second."""
    return {
        "error_rate": activity.total.error_ratio,
        "queue_utilization": activity.queue_ratio,
        "processing_rate": activity.records_per_second,
    }


def summary_document(activity: DeviceActivity, now: datetime) -> dict[str, Any]:
    """Batches of the period in the original's summary."""
    total = activity.total
    records = total.records or 1
    return {
        "period_summary": {
            "total_batches": total.batches,
            "total_records": total.records,
            "success_rate": total.success / records if total.records else 1.0,
            "error_rate": total.error_ratio,
            "duplicate_rate": total.duplicates / records,
        },
        "performance_summary": {
            "avg_processing_time": total.avg_seconds,
            "max_processing_time": total.max_seconds,
            "min_processing_time": total.min_seconds,
            "avg_throughput": total.avg_throughput,
            "max_throughput": total.max_throughput,
        },
        "shard_distribution": {
            str(one.shard): {"batches": one.batches, "records": one.records, "success": one.success}
            for one in activity.shards
        },
        "timestamp": now,
    }
