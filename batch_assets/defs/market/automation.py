"""Jobs and schedules of daily bars: a job for each feed, run when its day is due."""

from typing import Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.market.assets import FEED_TAG, asset_key_of, cache_dir_of
from batch_assets.defs.market.checks import freshness_evaluation
from batch_assets.settings import Settings
from batch_assets.sources.market.due import newest_due_day
from batch_assets.sources.market.feed import Feed

DEFAULT_JOB = "market_sync"

AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_sync_job(feed: Feed, name: str) -> AssetJob:
    """The job that loads one feed; its runs carry the feed's tag, which the queue limits."""
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(asset_key_of(feed)),
        tags={FEED_TAG: feed.name},
        description=f"Load daily bars of feed {feed.name} for a trade date or a range of them.",
        executor_def=dg.in_process_executor,
    )


def build_freshness_job(feed: Feed, settings: Settings) -> dg.JobDefinition:
    """The job that only asks whether the newest session is stored."""

    @dg.op(
        name=f"ask_freshness_{feed.name}",
        description="Compare the newest bar with the newest session that is due.",
    )
    def ask_freshness(
        context: dg.OpExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> None:
        with translating_failures(context.retry_number):
            evaluation = freshness_evaluation(
                postgres, feed, asset_key_of(feed), clock.now(), cache_dir_of(settings)
            )
        context.log_event(evaluation)  # type: ignore[arg-type]  # reason: taken, but not in the type

    @dg.job(
        name=f"market_freshness_{feed.name}",
        description=f"Ask whether the newest session of feed {feed.name} is stored.",
        executor_def=dg.in_process_executor,
    )
    def freshness() -> None:
        ask_freshness()

    return freshness


def build_sync_schedule(feed: Feed, job: AssetJob) -> dg.ScheduleDefinition:
    """Run a feed's job once its day is due, for that day's trade date."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=feed.cron,
        execution_timezone=feed.zone_name,
        description=f"Load the trade date that is due at {feed.cron} ({feed.zone_name}).",
    )
    def due_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = newest_due_day(feed, context.scheduled_execution_time)
        return dg.RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())

    return due_day


def build_freshness_schedule(feed: Feed, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Ask for freshness every hour: stale data shows although nothing ran."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule="17 * * * *",
        execution_timezone=feed.zone_name,
        description=f"Ask every hour whether feed {feed.name} is fresh.",
    )
