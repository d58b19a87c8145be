"""Jobs and schedules of daily bars: a job for each feed, run when its day is due."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.market.assets import FEED_TAG, asset_key_of, cache_dir_of
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed

DEFAULT_JOB = "market_sync"

# How Dagster itself marks the run of a range; documented for `dagster job execute`.
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

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
        from batch_assets.defs.common.retries import translating_failures
        from batch_assets.defs.market.evaluate import freshness_evaluation

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


def build_sync_schedule(feed: Feed, job: AssetJob, settings: Settings) -> dg.ScheduleDefinition:
    """Run a feed's job once its day is due, for that day and the sessions read again."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=feed.cron,
        execution_timezone=feed.zone_name,
        description=f"Load the trade date that is due at {feed.cron} ({feed.zone_name}), and read "
        f"the {feed.reread_sessions} sessions before it again, for late corrections.",
    )
    def due_days(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from batch_assets.defs.market.due_days import find_due_days

        first, last = find_due_days(feed, settings, context.scheduled_execution_time)
        return _request_range(first, last, run_key=last.isoformat())

    return due_days


def _request_range(first: date, last: date, *, run_key: str) -> dg.RunRequest:
    """One run for a range of partitions: a run for each day would cost 10 s a day."""
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=last.isoformat())
    tags = {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}
    return dg.RunRequest(run_key=run_key, tags=tags)


def build_repair_schedule(feed: Feed, job: AssetJob, settings: Settings) -> dg.ScheduleDefinition:
    """Run a feed's job later in the day for days that are not what they should be."""

    @dg.schedule(
        name=f"market_repair_{feed.name}_schedule",
        job=job,
        cron_schedule=feed.repair_cron,
        execution_timezone=feed.zone_name,
        description=f"Fetch days of the last {feed.repair_days} again that are partial, failed, "
        "not ready or empty without confirmation; of a day that lacks symbols, these alone where "
        "the vendor is asked by symbol.",
    )
    def days_to_repair(
        context: dg.ScheduleEvaluationContext, postgres: PostgresCopyResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from batch_assets.ingest.market.plan import plan_repairs
        from batch_assets.postgres.connect import translating_errors

        now = context.scheduled_execution_time
        with translating_errors():
            ranges = plan_repairs(postgres.connect, feed, now=now, cache_dir=cache_dir_of(settings))
        for first, last in ranges:
            # A tick asks for a range once, and the next tick may ask for it again.
            run_key = f"repair {now.isoformat(timespec='minutes')} {first}"
            yield _request_range(max(first, settings.dagster.first_day), last, run_key=run_key)
        if not ranges:
            yield dg.SkipReason(f"No day of the last {feed.repair_days} needs to be repaired.")

    return days_to_repair


def build_freshness_schedule(feed: Feed, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Ask for freshness every hour: stale data shows although nothing ran."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule="17 * * * *",
        execution_timezone=feed.zone_name,
        description=f"Ask every hour whether feed {feed.name} is fresh.",
    )
