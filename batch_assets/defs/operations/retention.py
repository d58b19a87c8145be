"""The job and schedule that forget what `[retention]` lets go."""

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.monitoring.retention_settings import SECTION, read_retention_settings
from batch_assets.settings import Settings


def build_retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Runs by itself where `[retention]` is written; else a person may switch it on."""

    @dg.op(name="prune_records", description="As `batch-assets prune`.")
    def prune_records(
        context: dg.OpExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> None:
        """Prune once; what went is in the run's log."""
        from batch_assets.runs.retention import prune

        for one in prune(postgres.connect, settings, clock.now()):
            context.log.info("%s: %d older than %s", one.what, one.count, one.before)

    @dg.job(name="prune", description="Forgets old records, as [retention] says.")
    def prune_job() -> None:
        prune_records()

    is_on = SECTION in settings.sections
    return dg.ScheduleDefinition(
        name="prune_schedule",
        job=prune_job,
        cron_schedule=read_retention_settings(settings).cron,
        execution_timezone="UTC",
        description="Forgets old records; runs by itself where [retention] is written.",
        default_status=dg.DefaultScheduleStatus.RUNNING
        if is_on
        else dg.DefaultScheduleStatus.STOPPED,
    )
