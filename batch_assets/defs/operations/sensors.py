"""The sensor that ends dead runs while a daemon is alive."""

from datetime import UTC, datetime

import dagster as dg

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.runs.repair import repair_runs

# A crash is healed within 60 s: this, the daemon's own 5 s, and the 30 s a lease or a launch may
# take to show that nobody is there any more.
_INTERVAL_SECONDS = 15


@dg.sensor(
    name="repair_dead_runs",
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone and frees their pool slots and leases; leaves "
    "alone whatever lives. By hand: `batch-assets runs repair`.",
)
def repair_dead_runs(
    context: dg.SensorEvaluationContext, postgres: PostgresCopyResource
) -> dg.SkipReason:
    """Repair once; the reason says what was done."""
    repaired = repair_runs(context.instance, postgres.connect, now=datetime.now(UTC))
    for item in repaired:
        context.log.warning("%s: %s", item.run_id or "a process without a run", item.message)
    if not repaired:
        return dg.SkipReason("Nothing to repair: every run that is in progress has its process.")
    names = ", ".join(
        f"{item.action} {item.run_id or 'a lease'} ({item.seen})" for item in repaired
    )
    return dg.SkipReason(f"Repaired {len(repaired)}: {names}")
