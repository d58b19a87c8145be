"""Jobs and schedules of what a vendor says beside bars."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from batch_assets.defs.market.assets import FEED_TAG
from batch_assets.defs.market.automation import AssetJob
from batch_assets.defs.market.reference_keys import VIEWS, reference_key, reference_names
from batch_assets.sources.market.feed import Feed

# Factors come as late as the next morning, or after a holiday: the last days are read again.
_READ_AGAIN = timedelta(days=7)

# Long enough for the lists to be stored before the bars are judged by them.
_BEFORE_BARS = timedelta(minutes=15)


def build_reference_job(feed: Feed) -> AssetJob:
    """The job that reads everything a feed's vendor says beside bars."""
    keys = [reference_key(feed, name) for name in reference_names(feed)]
    return dg.define_asset_job(
        name=f"market_reference_{feed.name}",
        selection=dg.AssetSelection.assets(*keys),
        tags={FEED_TAG: feed.name},
        description=f"Read instruments, suspensions and factors of feed {feed.name} for a day or "
        "a range of days.",
        executor_def=dg.in_process_executor,
    )


def build_views_job(feed: Feed) -> AssetJob:
    """The job that judges whether adjusted prices are known."""
    return dg.define_asset_job(
        name=f"market_adjusted_{feed.name}",
        selection=dg.AssetSelection.assets(*(reference_key(feed, name) for name in VIEWS)),
        tags={FEED_TAG: feed.name},
        description=f"Judge whether the adjusted prices of feed {feed.name} are known.",
        executor_def=dg.in_process_executor,
    )


def build_automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """What runs assets by their conditions; on by itself, unlike Dagster's own."""
    return dg.AutomationConditionSensorDefinition(
        "market_automation",
        target=dg.AssetSelection.groups("market"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Judges adjusted prices when bars or factors of the last days came.",
    )


def build_reference_schedule(feed: Feed, job: AssetJob) -> dg.ScheduleDefinition:
    """Read the lists of a day shortly before its bars, and those of the week before once more."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=reference_cron(feed),
        execution_timezone=feed.zone_name,
        description="Read what the bars of the day are judged by, and late factors of the week.",
    )
    def before_bars(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        last = context.scheduled_execution_time.astimezone(ZoneInfo(feed.zone_name)).date()
        return dg.RunRequest(
            run_key=last.isoformat(),
            tags={
                "dagster/asset_partition_range_start": (last - _READ_AGAIN).isoformat(),
                "dagster/asset_partition_range_end": last.isoformat(),
            },
        )

    return before_bars


def reference_cron(feed: Feed) -> str:
    """Cron in the feed's time zone: a quarter of an hour before bars are due, after the close."""
    # Any winter day: the wall clock is what counts, and it does not change with the season.
    day = date(2024, 1, 10)
    at = max(feed.ready_on(day) - _BEFORE_BARS, feed.closes_on(day) + timedelta(minutes=1))
    return f"{at.minute} {at.hour} * * *"
