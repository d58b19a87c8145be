"""What a vendor says beside bars as assets: instruments, suspensions, adjustment factors."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.market.assets import FEED_TAG, pool_of
from batch_assets.defs.market.reference_keys import (
    FACTORS,
    INSTRUMENTS,
    SUSPENSIONS,
    reference_key,
    reference_names,
)
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed, VendorFeed

EVERY_DAY_IS_READ = "every_day_is_read"
NO_FACTOR_MISSING = "no_factor_is_missing"
UNIVERSE_IS_KNOWN = "universe_is_known"


def build_reference_assets(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetsDefinition]:
    """The lists that a feed's vendor can give; none for a feed of files."""
    if not isinstance(feed, VendorFeed):
        return []
    build = {
        INSTRUMENTS: lambda: _build_instruments(feed, settings),
        SUSPENSIONS: lambda: _build_days(feed, settings, partitions, SUSPENSIONS),
        FACTORS: lambda: _build_days(feed, settings, partitions, FACTORS),
    }
    return [build[name]() for name in reference_names(feed)]


def _build_instruments(feed: VendorFeed, settings: Settings) -> dg.AssetsDefinition:
    key = reference_key(feed, INSTRUMENTS)

    @dg.asset(
        key=key,
        check_specs=[
            dg.AssetCheckSpec(
                UNIVERSE_IS_KNOWN,
                asset=key,
                blocking=True,
                description="The vendor lists symbols with the dates of their listing: a day of "
                "bars is complete when it has those that are listed and not suspended.",
            )
        ],
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed, INSTRUMENTS),
        description=_DESCRIPTIONS[INSTRUMENTS].format(source=feed.source_name),
    )
    def instruments(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from batch_assets.defs.market.run_reference import list_instruments

        yield from list_instruments(context, feed, settings, postgres, clock)

    return instruments


def _build_days(
    feed: VendorFeed, settings: Settings, partitions: dg.PartitionsDefinition[str], name: str
) -> dg.AssetsDefinition:
    key = reference_key(feed, name)

    @dg.asset(
        key=key,
        partitions_def=partitions,
        # Beta in 1.13. One run for each day would cost 10 s a day.
        backfill_policy=dg.BackfillPolicy.multi_run(feed.max_partitions_per_run),
        check_specs=_check_specs(key, name),
        # Each day that was read logs its own materialisation.
        output_required=False,
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed, name),
        description=_DESCRIPTIONS[name].format(source=feed.source_name),
    )
    def read_days(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.market.run_reference import sync_days

        yield from sync_days(context, feed, settings, name, postgres=postgres, clock=clock)

    return read_days


def _check_specs(key: dg.AssetKey, name: str) -> list[dg.AssetCheckSpec]:
    specs = [
        dg.AssetCheckSpec(
            EVERY_DAY_IS_READ,
            asset=key,
            blocking=True,
            description="Each day of the run was read, or has no session, or is not over yet. An "
            "empty list on a session is no success.",
        )
    ]
    if name == FACTORS:
        specs.append(
            dg.AssetCheckSpec(
                NO_FACTOR_MISSING,
                asset=key,
                blocking=True,
                description="Every symbol that trades has a factor. Prices adjusted without it "
                "would jump on the day of a dividend.",
            )
        )
    return specs


_DESCRIPTIONS = {
    INSTRUMENTS: "Symbols with their dates of listing and delisting in `market.instruments`, "
    "`source = '{source}'`: what a day of bars must have to be complete.",
    SUSPENSIONS: "Symbols that did not trade on a day in `market.suspensions`, "
    "`source = '{source}'`: a suspended symbol is not missing from its day.",
    FACTORS: "Changes of the cumulative adjustment factors in `market.adjustment_factors`, "
    "`source = '{source}'`. A late factor is reported and never guessed.",
}


def _static_metadata(feed: VendorFeed, name: str) -> dict[str, Any]:
    return {"table": f"market.{name}", "source": feed.source_name, **feed.facts}
