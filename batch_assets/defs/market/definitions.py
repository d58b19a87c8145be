"""Everything Dagster sees of the market domain, built from the configured feeds."""

import dagster as dg

from batch_assets.defs.market.adjusted_views import build_adjusted_views
from batch_assets.defs.market.assets import build_daily_bars
from batch_assets.defs.market.automation import (
    DEFAULT_JOB,
    build_freshness_job,
    build_freshness_schedule,
    build_repair_schedule,
    build_sync_job,
    build_sync_schedule,
)
from batch_assets.defs.market.reference import build_reference_assets
from batch_assets.defs.market.reference_automation import (
    build_automation_sensor,
    build_reference_job,
    build_reference_schedule,
    build_views_job,
)
from batch_assets.defs.market.reference_keys import has_views, reference_names
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
    if any(has_views(feed) for feed in feeds.values()):
        parts.append(dg.Definitions(sensors=[build_automation_sensor()]))
    return dg.Definitions.merge(*parts)


def _build_feed(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    sync = build_sync_job(feed, f"market_sync_{feed.name}")
    freshness = build_freshness_job(feed, settings)
    return dg.Definitions.merge(
        dg.Definitions(
            assets=[build_daily_bars(feed, settings, partitions)],
            jobs=[sync, freshness],
            schedules=[
                build_sync_schedule(feed, sync, settings),
                build_repair_schedule(feed, sync, settings),
                build_freshness_schedule(feed, freshness),
            ],
        ),
        _build_reference(feed, settings, partitions),
    )


def _build_reference(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """What the feed's vendor can say beside bars, and what follows from it."""
    parts = []
    if reference_names(feed):
        job = build_reference_job(feed)
        parts.append(
            dg.Definitions(
                assets=build_reference_assets(feed, settings, partitions),
                jobs=[job],
                schedules=[build_reference_schedule(feed, job)],
            )
        )
    if has_views(feed):
        views = build_adjusted_views(feed, partitions)
        parts.append(dg.Definitions(assets=[views], jobs=[build_views_job(feed)]))
    return dg.Definitions.merge(*parts)
