"""Backfills as Dagster's pages and commands leave them in its storage."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemotePartitionSetOrigin,
    RemoteRepositoryOrigin,
)

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_offset=1)
OTHER_DAYS = dg.DailyPartitionsDefinition("2024-02-01", end_offset=1)


def bars_of(
    feed: str, partitions: dg.PartitionsDefinition[str] | None = DAYS
) -> dg.AssetsDefinition:
    return days_of("market", feed, "daily_bars", partitions=partitions)


def days_of(
    *key: str, partitions: dg.PartitionsDefinition[str] | None = DAYS
) -> dg.AssetsDefinition:
    @dg.asset(key=key, partitions_def=partitions)
    def of_days() -> None:
        pass

    return of_days


@dg.asset(key=["somebody", "else"], partitions_def=DAYS)
def somebody_else() -> None:
    pass


def repository_of(*assets: dg.AssetsDefinition) -> dg.RepositoryDefinition:
    all_assets = assets or (bars_of("cn"), bars_of("us"), somebody_else)
    job = dg.define_asset_job("market_sync", selection=[all_assets[0].key])
    return dg.Definitions(assets=all_assets, jobs=[job]).get_repository_def()


def launch_in_dagster(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    dagster_id: str,
    keys: Sequence[str],
    *asset_keys: str,
    launched_at: datetime,
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, object] | None = None,
    is_all: bool = False,
) -> None:
    """What `launchPartitionBackfill` stores for a selection of assets."""
    chosen = [dg.AssetKey(key.split("/")) for key in asset_keys or ("market/cn/daily_bars",)]
    with warnings.catch_warnings():
        # Dagster calls what it deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        made = PartitionBackfill.from_asset_partitions(
            backfill_id=dagster_id,
            asset_graph=repository.asset_graph,
            partition_names=None if is_all else list(keys),
            asset_selection=chosen,
            backfill_timestamp=launched_at.timestamp(),
            tags=dict(tags or {}),
            dynamic_partitions_store=instance,
            all_partitions=is_all,
            title=None,
            description=None,
            run_config=dict(config) if config else None,
        )
    instance.add_backfill(made)


def origin_of(location: str) -> RemoteRepositoryOrigin:
    return RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")


def launch_job_in_dagster(
    instance: dg.DagsterInstance,
    dagster_id: str,
    keys: Sequence[str],
    *,
    launched_at: datetime,
    location: str = "here",
) -> None:
    """What `dagster job backfill -j market_sync` stores."""
    instance.add_backfill(
        PartitionBackfill(
            backfill_id=dagster_id,
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=launched_at.timestamp(),
            partition_set_origin=RemotePartitionSetOrigin(
                repository_origin=origin_of(location),
                partition_set_name="market_sync_partition_set",
            ),
            partition_names=list(keys),
        )
    )


def end_in_dagster(
    instance: dg.DagsterInstance, dagster_id: str, status: str, ended_at: datetime | None = None
) -> None:
    """What Dagster's daemon does at the end."""
    found = instance.get_backfill(dagster_id)
    assert found is not None
    ended = found.with_status(BulkActionStatus(status))  # type: ignore[no-untyped-call]
    instance.update_backfill(
        ended if ended_at is None else ended.with_end_timestamp(ended_at.timestamp())
    )


def keep_as_text(
    instance: dg.DagsterInstance, dagster_id: str, repository: dg.RepositoryDefinition
) -> None:
    """As Dagster kept its partitions before 1.6: to be read by the definitions of the day."""
    found = instance.get_backfill(dagster_id)
    assert found is not None
    assert found.asset_backfill_data is not None
    text = found.asset_backfill_data.serialize(instance, repository.asset_graph)
    instance.update_backfill(
        found._replace(serialized_asset_backfill_data=text, asset_backfill_data=None)
    )
