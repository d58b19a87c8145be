"""All metrics at one moment, read from PostgreSQL and the container in a few queries.

Because they are read and not pushed, work of processes that crashed or wait shows too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from batch_assets.execution.isolation import SPOOL_NAME
from batch_assets.execution.pool_statistics import read_pool_reports
from batch_assets.execution.usage import Usage, read_usage
from batch_assets.monitoring.feed_lag import read_feed_lags
from batch_assets.monitoring.metrics import Sample
from batch_assets.monitoring.settings import read_alert_settings
from batch_assets.monitoring.silent_devices import read_silence
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import read_device_settings


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    """What the queries need to know.

    Attributes:
        window_seconds: What `recent` means.
        least_rows: Fewer rows than that say nothing about a share.
        inbox_rows_max: Where the inbox of devices refuses more.
        table_targets: Targets of transfers; other targets of users are workbooks'.
    """

    window_seconds: float = 3600.0
    least_rows: int = 20
    inbox_rows_max: int = 100_000
    table_targets: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "SnapshotOptions":
        """As the configuration says."""
        alerts = read_alert_settings(settings)
        transfers = settings.section("tables").get("transfers", {})
        return cls(
            alerts.window_seconds,
            alerts.least_rows,
            read_device_settings(settings).inbox_rows_max,
            tuple(str(one.get("target", name)) for name, one in transfers.items()),
        )


def read_snapshot(conn: psycopg.Connection, settings: Settings, now: datetime) -> list[Sample]:
    """Everything that can be read without Dagster and without the estimates of backfills.

    Args:
        conn: Its transaction is left open.
        settings: Whose feeds and bounds.
        now: The present, for what is due.
    """
    return [
        *read_database_samples(conn, SnapshotOptions.of(settings)),
        *read_feed_lags(conn, settings, now),
        read_silence(conn, read_device_settings(settings), now),
        *usage_samples(read_usage()),
        *_isolated_samples(settings.state_dir / SPOOL_NAME),
    ]


def read_database_samples(conn: psycopg.Connection, options: SnapshotOptions) -> list[Sample]:
    """What PostgreSQL knows by itself."""
    parameters = {
        "window_seconds": options.window_seconds,
        "least_rows": options.least_rows,
        "inbox_rows_max": options.inbox_rows_max,
        "table_targets": list(options.table_targets),
    }
    return [
        Sample(name, labels, float(value))
        for query in ("monitor_loads", "monitor_queues")
        for name, labels, value in conn.execute(read_query(query), parameters)
    ]


def usage_samples(usage: Usage) -> list[Sample]:
    """The container's share; what nothing counts is left out."""
    values = {
        "container_cpus": usage.cpus,
        "container_cpu_seconds_total": usage.cpu_seconds,
        "container_memory_bytes": usage.memory_bytes,
        "container_memory_limit_bytes": usage.memory_limit_bytes,
        "memory_used_ratio": usage.memory_ratio,
        "container_read_bytes_total": usage.read_bytes,
        "container_written_bytes_total": usage.written_bytes,
    }
    return [
        Sample(f"batch_assets_{name}", {}, float(value))
        for name, value in values.items()
        if value is not None
    ]


def _isolated_samples(spool_dir: Path) -> Iterator[Sample]:
    reports = [report.statistics for report in read_pool_reports(spool_dir)]
    allowed = sum(one.workers for one in reports)
    active = sum(one.active for one in reports)
    yield Sample("batch_assets_isolated_workers", {"state": "allowed"}, allowed)
    yield Sample("batch_assets_isolated_workers", {"state": "active"}, active)
    yield Sample("batch_assets_isolated_tasks_queued", {}, sum(one.queued for one in reports))
    yield Sample("batch_assets_isolated_worker_restarts", {}, sum(one.restarts for one in reports))
