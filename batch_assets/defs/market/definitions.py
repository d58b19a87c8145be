"""Everything Dagster sees of the market domain, built from the configured feeds."""

import dagster as dg

from batch_assets.settings import Settings


def build_market_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, jobs and schedules of all feeds; nothing where there is none.

    `market_sync` loads the default feed.

    Raises:
        ConfigurationError: A feed is not as the configuration file must have it.
    """
    if not settings.section("market"):
        return dg.Definitions()
    # Who has no feeds does not pay for importing what describes them.
    from batch_assets.defs.market.automation import DEFAULT_JOB, build_sync_job
    from batch_assets.defs.market.feed_definitions import build_feed_definitions
    from batch_assets.defs.market.reference_automation import build_automation_sensor
    from batch_assets.defs.market.reference_keys import has_views
    from batch_assets.sources.market.feed import build_feeds

    feeds = build_feeds(settings.section("market"), settings.config_dir)
    parts = [build_feed_definitions(feed, settings, partitions) for feed in feeds.values()]
    default = next(iter(feeds.values()), None)
    if default is not None:
        parts.append(dg.Definitions(jobs=[build_sync_job(default, DEFAULT_JOB)]))
    if any(has_views(feed) for feed in feeds.values()):
        parts.append(dg.Definitions(sensors=[build_automation_sensor()]))
    return dg.Definitions.merge(*parts)
