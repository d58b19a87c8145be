"""Four assets, written by one step: `devices/records`, `daily`, `weekly` and `latest`.

They are committed together, so they are one step. A partition is the day on which files arrived.
Shards are workers within the step, not a second dimension of partitions: a run for each shard would
read every file as often as there are shards, and the shards' number is a map that may change while
it runs. What each shard did, and which one failed, is in the metadata of the run's days.
"""

from collections.abc import Iterator

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.devices.asset_keys import (
    DAILY,
    LATEST,
    LOAD_TAG,
    LOAD_TAG_VALUE,
    POOL,
    RECORDS,
    STEP,
    WEEKLY,
)
from batch_assets.defs.devices.checks import build_check_specs
from batch_assets.settings import Settings

# Days of a backfill in one run; all of them are one load.
_DAYS_PER_RUN = 30

_DESCRIPTIONS = (
    (
        RECORDS,
        (),
        "devices.records",
        "One row per device and moment in `devices.records`; a record sent again with other values "
        "corrects it.\n\nA partition is the day (UTC) on which landing files arrived. A run also "
        "loads what is left of earlier days, so that the order of each device is kept, and with "
        "the newest day the inbox.",
    ),
    (
        DAILY,
        (RECORDS,),
        "devices.daily",
        "One row per device and day: values the device supplied, else those rolled up from its "
        "records; `differing` names the columns in which the two disagree.",
    ),
    (
        WEEKLY,
        (DAILY,),
        "devices.weekly",
        "One row per device and week from Monday: supplied values, else averages and sums of days.",
    ),
    (
        LATEST,
        (RECORDS,),
        "devices.latest",
        "The newest record of each device; a late record never moves it backwards.",
    ),
)


def build_device_assets(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The assets of all devices."""

    @dg.multi_asset(
        name=STEP,
        specs=_build_specs(),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(_DAYS_PER_RUN),  # Beta in 1.13.
        check_specs=build_check_specs(),
        pool=POOL,
        op_tags={LOAD_TAG: LOAD_TAG_VALUE},
        # Whichever is asked for, the step writes and reports all four.
        can_subset=True,
    )
    def devices(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.devices.run import run_load

        yield from run_load(context, postgres, settings, clock.now().date())

    return devices


def _build_specs() -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            key,
            deps=list(deps),
            # Each day logs its own materialisation; an output would mark every day.
            skippable=True,
            group_name="devices",
            owners=["team:data"],
            kinds={"postgres", "python"},
            tags={LOAD_TAG: LOAD_TAG_VALUE},
            metadata={"dagster/table_name": table},
            description=text,
        )
        for key, deps, table, text in _DESCRIPTIONS
    ]
