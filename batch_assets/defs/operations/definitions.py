"""Everything Dagster sees of operations."""

import dagster as dg

from batch_assets.defs.operations.alerts import build_alert_sensor
from batch_assets.defs.operations.retention import build_retention_schedule
from batch_assets.defs.operations.sensors import build_drive_sensor, repair_dead_runs
from batch_assets.settings import Settings


def build_operations_definitions(settings: Settings) -> dg.Definitions:
    """What carries out backfills, frees what is stuck, tells people, and forgets old records."""
    return dg.Definitions(
        sensors=[
            repair_dead_runs,
            build_drive_sensor(settings),
            build_alert_sensor(settings),
        ],
        schedules=[build_retention_schedule(settings)],
    )
