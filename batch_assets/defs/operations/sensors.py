"""Sensors that keep runs going while a daemon is alive: repair of dead ones, and backfills."""

from datetime import UTC, datetime

import dagster as dg

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.settings import Settings

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
    from batch_assets.runs.repair import repair_runs

    repaired = repair_runs(context.instance, postgres.connect, now=datetime.now(UTC))
    for item in repaired:
        context.log.warning("%s: %s", item.run_id or "a process without a run", item.message)
    if not repaired:
        return dg.SkipReason("Nothing to repair: every run that is in progress has its process.")
    names = ", ".join(
        f"{item.action} {item.run_id or 'a lease'} ({item.seen})" for item in repaired
    )
    return dg.SkipReason(f"Repaired {len(repaired)}: {names}")


# What people ask for waits no longer than this before Dagster knows of it.
_DRIVE_INTERVAL_SECONDS = 5


def build_drive_sensor(settings: Settings) -> dg.SensorDefinition:
    """What carries out backfills, and follows those that were launched without us."""

    @dg.sensor(
        name="drive_backfills",
        minimum_interval_seconds=_DRIVE_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Hands backfills of `batch-assets backfill` to Dagster, adopts those that were "
        "launched on Dagster's own pages, and carries out pause, resume, cancel and priority. "
        "Switched off, nothing of that happens.",
    )
    def drive_backfills_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresCopyResource
    ) -> dg.SkipReason:
        """Look once at what is wanted and at what is new; the reason says what was done."""
        from batch_assets.defs.operations.tracked_assets import tracked_assets
        from batch_assets.runs.backfill_adoption import CodeLocation, adopt_backfills
        from batch_assets.runs.backfill_driver import drive_backfills

        repository, origin = context.repository_def, context.code_location_origin
        if repository is None:
            return dg.SkipReason("There are no definitions to launch.")
        now = datetime.now(UTC)
        done = drive_backfills(context.instance, repository.asset_graph, postgres.connect, now=now)
        # Last: where Dagster cannot list its backfills the tick fails, and ours are driven.
        adopted = adopt_backfills(
            context.instance,
            CodeLocation(repository, origin.location_name if origin is not None else None),
            tracked_assets(settings),
            postgres.connect,
            now=now,
        )
        said = [f"backfill {item.backfill_id}: {item.message}" for item in done]
        said += [
            f"backfill {item.backfill_id} is Dagster's {item.dagster_backfill_id}"
            for item in adopted
        ]
        return dg.SkipReason("; ".join(said) or "No backfill needs anything.")

    return drive_backfills_sensor
