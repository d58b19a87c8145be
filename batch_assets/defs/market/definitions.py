"""Everything Dagster sees of the market domain, built from the configured feeds."""

import dagster as dg

from batch_assets.defs.market.assets import build_daily_bars
from batch_assets.defs.market.automation import (
    DEFAULT_JOB,
    build_freshness_job,
    build_freshness_schedule,
    build_repair_schedule,
    build_sync_job,
    build_sync_schedule,
)
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed, build_feeds


def build_market_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, jobs and schedules of all feeds; `market_sync` loads the default one.

    Raises:
        ConfigurationError: A feed is not as the configuration file must have it.
    """
    feeds = build_feeds(settings.section("market"), settings.config_dir)
    parts = [_build_feed(feed, settings, partitions) for feed in feeds.values()]
    default = next(iter(feeds.values()), None)
    if default is not None:
        job = build_sync_job(default, DEFAULT_JOB)
        parts.append(dg.Definitions(jobs=[job]))
    return dg.Definitions.merge(*parts)


def _build_feed(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    sync = build_sync_job(feed, f"market_sync_{feed.name}")
    freshness = build_freshness_job(feed, settings)
    return dg.Definitions(
        assets=[build_daily_bars(feed, settings, partitions)],
        jobs=[sync, freshness],
        schedules=[
            build_sync_schedule(feed, sync, settings),
            build_repair_schedule(feed, sync, settings),
            build_freshness_schedule(feed, freshness),
        ],
    )
