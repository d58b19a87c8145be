"""The definitions of batch_assets with a process for each step, as users of it may choose."""

import dagster as dg

from batch_assets.definitions import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """The same assets, jobs and resources under Dagster's multiprocess executor."""
    built = build_definitions()
    return dg.Definitions(
        assets=built.assets,
        asset_checks=built.asset_checks,
        jobs=[
            dg.define_asset_job(
                "market_sync",
                selection=[dg.AssetKey(["market", "examples", "daily_bars"])],
                executor_def=dg.multiprocess_executor,
                tags={"batch_assets/feed": "examples"},
            )
        ],
        # Of the product's, those that need no job of another name: the repair of dead runs.
        sensors=[each for each in built.sensors or () if each.name == "repair_dead_runs"],
        resources=built.resources,
        executor=dg.multiprocess_executor,
    )
