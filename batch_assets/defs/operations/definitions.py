"""Everything Dagster sees of operations."""

import dagster as dg

from batch_assets.defs.operations.sensors import repair_dead_runs


def build_operations_definitions() -> dg.Definitions:
    """The sensors that keep runs, leases and pool slots from staying stuck."""
    return dg.Definitions(sensors=[repair_dead_runs])
