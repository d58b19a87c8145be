"""Everything Dagster sees of operations."""

import dagster as dg

from batch_assets.defs.operations.sensors import drive_backfills_sensor, repair_dead_runs


def build_operations_definitions() -> dg.Definitions:
    """The sensors that carry out backfills and keep runs, leases and slots from staying stuck."""
    return dg.Definitions(sensors=[repair_dead_runs, drive_backfills_sensor])
