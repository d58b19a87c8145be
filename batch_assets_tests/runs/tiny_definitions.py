"""Definitions that need no data: what the platform tests run instead of the real ones."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

daily = dg.DailyPartitionsDefinition("2024-09-25", timezone="UTC", end_offset=1)


def _loads_day(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        key_prefix=["tiny", name],
        partitions_def=daily,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        op_tags={"batch_assets/feed": name},
        tags={"batch_assets/feed": name},
        output_required=False,
    )
    def day(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
        if context.partition_key == "2024-10-01":
            raise dg.Failure(f"planted failure of {context.partition_key}", allow_retries=False)
        _wait_for_gate(name)
        context.log_event(
            dg.AssetMaterialization(context.asset_key, partition=context.partition_key)
        )
        yield from ()  # no output: the event above is the only materialisation

    return day


def _wait_for_gate(name: str) -> None:
    """Hold back the left feed until a test opens its gate."""
    gate = os.environ.get("TINY_GATE")
    while name == "left" and gate and not Path(gate).exists():
        time.sleep(0.1)


@dg.op
def wait_for_the_end() -> None:
    """Runs until it is stopped; leaves its process id where the test looks."""
    Path(os.environ["TINY_PID_FILE"]).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


@dg.job(executor_def=dg.in_process_executor)
def endless() -> None:
    wait_for_the_end()


# In the process of the run: a step process of its own would double the cost of every test.
definitions = dg.Definitions(
    assets=[_loads_day("left"), _loads_day("right")],
    jobs=[
        endless,
        dg.define_asset_job("left_job", selection=["tiny/left/left"]),
    ],
    executor=dg.in_process_executor,
)
