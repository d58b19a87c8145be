"""Jobs and schedules of daily bars: a job for each feed, run when its day is due."""

from typing import Any

import dagster as dg

from batch_assets.defs.market.assets import FEED_TAG, asset_key_of
from batch_assets.defs.market.checks import FRESHNESS
from batch_assets.sources.market.due import newest_due_day
from batch_assets.sources.market.feed import Feed

DEFAULT_JOB = "market_sync"

AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_sync_job(feed: Feed, name: str) -> AssetJob:
    """The job that loads one feed; its runs carry the feed's tag, which the queue limits."""
    key = asset_key_of(feed)
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(key) - dg.AssetSelection.checks(_freshness_key(key)),
        tags={FEED_TAG: feed.name},
        description=f"Load daily bars of feed {feed.name} for a trade date or a range of them.",
        executor_def=dg.in_process_executor,
    )


def build_freshness_job(feed: Feed) -> AssetJob:
    """The job that only asks whether the newest session is stored."""
    return dg.define_asset_job(
        name=f"market_freshness_{feed.name}",
        selection=dg.AssetSelection.checks(_freshness_key(asset_key_of(feed))),
        description=f"Ask whether the newest session of feed {feed.name} is stored.",
        executor_def=dg.in_process_executor,
    )


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


def build_freshness_schedule(feed: Feed, job: AssetJob) -> dg.ScheduleDefinition:
    """Ask for freshness every hour: stale data shows although nothing ran."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule="17 * * * *",
        execution_timezone=feed.zone_name,
        description=f"Ask every hour whether feed {feed.name} is fresh.",
    )


def _freshness_key(asset_key: dg.AssetKey) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(asset_key, FRESHNESS)
