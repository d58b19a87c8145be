"""Everything that `prune` forgets: our tables, staged leftovers, Dagster's events and logs.

Dagster keeps events and captured logs for ever; its schedules and sensors have `retention` in
dagster.yaml. Neither is asked for its library here: tables and folders are enough.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from batch_assets.loading.leases import Connector
from batch_assets.monitoring.leftover_staging import prune_staging
from batch_assets.monitoring.retention import (
    Pruned,
    RetentionRule,
    prune_tables,
    retention_rules,
)
from batch_assets.monitoring.retention_settings import RetentionSettings, read_retention_settings
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import read_device_settings

# Dagster's local compute log manager: <home>/storage/<run id>/compute_logs.
_LOGS_NAME = "compute_logs"


def prune(
    connect: Connector, settings: Settings, now: datetime, *, dry_run: bool = False
) -> Iterator[Pruned]:
    """Forget what `[retention]` lets go.

    Args:
        connect: Opens a connection to the migrated database.
        settings: Whose retention and state folder.
        now: The present, aware.
        dry_run: Count, and remove nothing.

    Yields:
        One result for each kind, when it is done; kinds that are kept for ever are left out.

    Raises:
        ConfigurationError: `[retention]` is not as it must be.
        DatabaseUnavailable: The database failed; what went before is gone.
    """
    kept = read_retention_settings(settings)
    rules = retention_rules(kept, read_device_settings(settings).metrics_keep_days)
    if _has_dagster(connect):
        rules.append(_events_rule(kept))
    yield from prune_tables(connect, rules, now, batch_rows=kept.batch_rows, dry_run=dry_run)
    if kept.staging_days:
        before = now - timedelta(days=kept.staging_days)
        yield from prune_staging(connect, before, dry_run=dry_run)
    if kept.dagster_logs_days:
        before = now - timedelta(days=kept.dagster_logs_days)
        storage = settings.state_dir / "dagster" / "storage"
        yield _prune_logs(storage, _unfinished(connect), before, dry_run=dry_run)


def _events_rule(kept: RetentionSettings) -> RetentionRule:
    condition = read_query("old_dagster_events")
    return RetentionRule("dagster.event_logs", condition, kept.dagster_events_days)


def _has_dagster(connect: Connector) -> bool:
    with translating_errors(), connect() as conn:
        row = conn.execute(
            "SELECT to_regclass('dagster.event_logs') IS NOT NULL"
            " AND to_regclass('dagster.runs') IS NOT NULL"
        ).fetchone()
    return row is not None and bool(row[0])


def _unfinished(connect: Connector) -> set[str]:
    if not _has_dagster(connect):
        return set()
    with translating_errors(), connect() as conn:
        rows = conn.execute(
            "SELECT run_id FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
        ).fetchall()
    return {str(row[0]) for row in rows}


def _prune_logs(storage: Path, unfinished: set[str], before: datetime, *, dry_run: bool) -> Pruned:
    """Captured output of ended runs that was written to last before a moment."""
    old = [
        folder
        for folder in (storage.glob(f"*/{_LOGS_NAME}") if storage.is_dir() else ())
        if folder.parent.name not in unfinished and _newest(folder) < before
    ]
    if not dry_run:
        for folder in old:
            shutil.rmtree(folder)
            # The run's own folder goes too, where nothing else is in it.
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
    return Pruned("captured logs of runs", len(old), before)


def _newest(folder: Path) -> datetime:
    times = [folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.rglob("*"))]
    return datetime.fromtimestamp(max(times), UTC)
