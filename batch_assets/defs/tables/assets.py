"""One asset for each transfer: `tables/<name>`, partitioned by day where it has a window column."""

from collections.abc import Iterator

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.tables.checks import build_check_specs
from batch_assets.settings import Settings
from batch_assets.sources.tables.transfer import Transfer

TRANSFER_TAG = "batch_assets/transfer"


class TransferConfig(dg.Config):
    """What a person may set when launching a run."""

    force: bool = False
    """Stage from the beginning, whatever an earlier run has staged."""


def asset_key_of(transfer: Transfer) -> dg.AssetKey:
    """`tables/<name>`."""
    return dg.AssetKey(["tables", transfer.name])


def pool_of(transfer: Transfer) -> str:
    """The pool of a source database, so that a range does not open it once for every day."""
    if transfer.is_same_database:
        return POSTGRES_WRITE
    return f"source_{transfer.source_url_env.lower()}"


def build_transfer_asset(
    transfer: Transfer, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The asset of one transfer."""
    asset_key = asset_key_of(transfer)
    is_daily = bool(transfer.window_column)

    @dg.asset(
        key=asset_key,
        partitions_def=partitions if is_daily else None,
        # Beta in 1.13. A range runs in few runs: one run for each day would cost 10 s a day.
        backfill_policy=(
            dg.BackfillPolicy.multi_run(transfer.max_partitions_per_run) if is_daily else None
        ),
        check_specs=build_check_specs(asset_key),
        # Each good day logs its own materialisation; a returned result would mark every day.
        output_required=False,
        pool=pool_of(transfer),
        group_name="tables",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={TRANSFER_TAG: transfer.name},
        op_tags={TRANSFER_TAG: transfer.name},
        metadata={
            "dagster/table_name": transfer.target,
            "key": ", ".join(transfer.key),
            "mode": transfer.mode.value,
            "source": transfer.origin,
        },
        description=f"{transfer.target}: rows of {transfer.origin}, mode {transfer.mode}.",
    )
    def transferred(
        context: dg.AssetExecutionContext, config: TransferConfig, postgres: PostgresCopyResource
    ) -> Iterator[dg.AssetCheckResult]:
        from batch_assets.defs.tables.run import run_load

        yield from run_load(context, transfer, settings, postgres, force=config.force)

    return transferred
