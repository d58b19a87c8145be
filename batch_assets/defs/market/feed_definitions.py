"""Everything Dagster sees of one feed."""

import dagster as dg

from batch_assets.defs.market.adjusted_views import build_adjusted_views
from batch_assets.defs.market.assets import build_daily_bars
from batch_assets.defs.market.automation import (
    build_freshness_job,
    build_freshness_schedule,
    build_repair_schedule,
    build_sync_job,
    build_sync_schedule,
)
from batch_assets.defs.market.reference import build_reference_assets
from batch_assets.defs.market.reference_automation import (
    build_reference_job,
    build_reference_schedule,
    build_views_job,
)
from batch_assets.defs.market.reference_keys import has_views, reference_names
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed


def build_feed_definitions(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Its bars, what its vendor says beside them, and the jobs and schedules of both."""
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
