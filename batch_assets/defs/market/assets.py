"""One asset for each market feed: `market/<feed>/daily_bars`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from batch_assets.defs.common.pools import POSTGRES_WRITE, VENDOR
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.market.checks import build_check_specs
from batch_assets.defs.market.reference_keys import deps_of_bars
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed, VendorFeed

FEED_TAG = "batch_assets/feed"
PLAN_TAG = "batch_assets/plan"


class SyncConfig(dg.Config):
    """What a person may set when launching a run."""

    force: bool = False
    """Fetch days that are there too, and compare row by row, whatever earlier loads say."""

    symbols: list[str] = Field(default_factory=list)
    """Fetch these symbols alone (`600000.SH`); their days stay incomplete. None named: all."""


def asset_key_of(feed: Feed) -> dg.AssetKey:
    """`market/<feed>/daily_bars`."""
    return dg.AssetKey(["market", feed.name, "daily_bars"])


def pool_of(feed: Feed) -> str:
    """The pool of everything that loads a feed: its vendor's, or that of PostgreSQL's writers."""
    return f"{VENDOR}{feed.vendor}" if isinstance(feed, VendorFeed) else POSTGRES_WRITE


def cache_dir_of(settings: Settings) -> Path:
    """Where calendars and folder indexes are kept."""
    return settings.state_dir / "cache"


def build_daily_bars(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The asset of one feed."""
    asset_key = asset_key_of(feed)

    @dg.asset(
        key=asset_key,
        partitions_def=partitions,
        deps=deps_of_bars(feed),
        # Beta in 1.13. A range runs in few runs: one run for each day would cost 10 s a day.
        backfill_policy=_backfill_policy(feed),
        check_specs=build_check_specs(asset_key),
        # Each good day logs its own materialisation; a returned result would mark every day.
        output_required=False,
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed),
        description=_describe(feed),
    )
    def daily_bars(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        postgres: PostgresCopyResource,
        clock: ClockResource,
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.market.run import run_sync

        yield from run_sync(context, feed, settings, config, postgres=postgres, clock=clock)

    return daily_bars


def _backfill_policy(feed: Feed) -> dg.BackfillPolicy:
    """Few runs, or one where a vendor is asked once a symbol for the whole range."""
    if feed.max_days_per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(feed.max_days_per_run)


def _static_metadata(feed: Feed) -> dict[str, Any]:
    return {
        "table": "market.daily_bars",
        "source": feed.source_name,
        **feed.facts,
        "prices": str(feed.prices),
        "calendar": feed.calendar,
        "time_zone": feed.zone_name,
    }


def _describe(feed: Feed) -> str:
    return (
        f"Daily bars of feed `{feed.name}`: one row per symbol and trade date in "
        f"`market.daily_bars`, `source = '{feed.source_name}'`, {feed.prices} prices in the "
        f"listing's currency, volume in shares or units.\n\n"
        f"A partition is the exchange's trade date ({feed.calendar}, {feed.zone_name}). A day "
        "without a session is materialised as skipped; a day whose rows are not due yet stays "
        "unmaterialised. Why a day failed, or is not ready, is under Events and in the check "
        "`every_day_is_loaded`. Rows that were not loaded are in `ops.dead_letters`, what became "
        "of every row is in `ops.loads`."
    )
