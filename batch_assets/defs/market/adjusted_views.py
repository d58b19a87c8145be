"""The views of adjusted bars as assets: nothing is computed, only judged.

`market.daily_bars_qfq` and `_hfq` always exist. Materialised is a day whose factors are known, so
that whoever depends on adjusted prices waits for them, and is not run on guesses.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.market.assets import FEED_TAG, asset_key_of
from batch_assets.defs.market.reference_keys import FACTORS, VIEWS, reference_key
from batch_assets.sources.market.feed import Feed

FACTORS_ARE_KNOWN = "factors_are_known"

# Factors of a Friday before a week of holidays come after it.
_LOOK_BACK = timedelta(days=14)

_DESCRIPTIONS = {
    "daily_bars_qfq": "Forward-adjusted bars of feed `{feed}`, the view `market.daily_bars_qfq`: "
    "those of the newest trade date are raw.",
    "daily_bars_hfq": "Backward-adjusted bars of feed `{feed}`, the view `market.daily_bars_hfq`: "
    "raw prices times the factor of their day.",
}


def build_adjusted_views(
    feed: Feed, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """Both views of one feed, judged by one step."""
    keys = [reference_key(feed, name) for name in VIEWS]

    @dg.multi_asset(
        name=f"market__{feed.name}__adjusted_bars",
        specs=[_spec(feed, name, partitions) for name in VIEWS],
        check_specs=[
            dg.AssetCheckSpec(
                FACTORS_ARE_KNOWN,
                asset=key,
                blocking=True,
                description="The factors of each day with bars were read, and none is missing. "
                "Adjusted prices of other days may be wrong.",
            )
            for key in keys
        ],
        # Beta in 1.13.
        backfill_policy=dg.BackfillPolicy.multi_run(feed.max_partitions_per_run),
        pool=POSTGRES_WRITE,
        op_tags={FEED_TAG: feed.name},
    )
    def adjusted_bars(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.market.run_views import judge_views

        yield from judge_views(context, feed, postgres)

    return adjusted_bars


def _spec(feed: Feed, name: str, partitions: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=reference_key(feed, name),
        deps=[asset_key_of(feed), reference_key(feed, FACTORS)],
        partitions_def=partitions,
        # Only the days that are known are materialised.
        skippable=True,
        automation_condition=_when_both_are_there(),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "view"},
        tags={FEED_TAG: feed.name},
        metadata={"table": f"market.{name}", "source": feed.source_name},
        description=_DESCRIPTIONS[name].format(feed=feed.name),
    )


def _when_both_are_there() -> dg.AutomationCondition[Any]:
    """When bars or factors of a recent day came or changed, and the other is there too."""
    recent = dg.AutomationCondition.in_latest_time_window(_LOOK_BACK)
    return (
        dg.AutomationCondition.eager().replace("in_latest_time_window", recent)
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
    )
