"""Jobs and schedules of transfers."""

from datetime import timedelta
from typing import Any

import dagster as dg

from batch_assets.defs.tables.assets import TRANSFER_TAG, asset_key_of
from batch_assets.sources.tables.transfer import Transfer

DEFAULT_JOB = "table_transfer"

AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_transfer_job(transfer: Transfer, name: str) -> AssetJob:
    """The job that runs one transfer."""
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(asset_key_of(transfer)),
        tags={TRANSFER_TAG: transfer.name},
        description=f"Transfer {transfer.origin} to {transfer.target}.",
        executor_def=dg.in_process_executor,
    )


def build_transfer_schedule(transfer: Transfer, job: AssetJob) -> dg.ScheduleDefinition:
    """Run a transfer by its cron; one with days runs for the day before."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=transfer.schedule,
        execution_timezone=transfer.time_zone,
        description=f"Run transfer {transfer.name} at {transfer.schedule} ({transfer.time_zone}).",
    )
    def due(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment = context.scheduled_execution_time
        if not transfer.window_column:
            return dg.RunRequest(run_key=moment.isoformat())
        day = (moment - timedelta(days=1)).date().isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    return due
