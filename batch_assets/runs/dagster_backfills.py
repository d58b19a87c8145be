"""Dagster's own backfills: add one, see how it is, ask for its end.

The one module that uses private parts of Dagster. A backfill has no public name in Python: its
public door is GraphQL, which needs a webserver, and neither a daemon alone nor a test has one.
What is used here has been the same since 1.9; pyproject.toml pins the minor version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from batch_assets.errors import RunRefused
from batch_assets.runs.watch import BackfillState as DagsterBackfillState

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

# How Dagster marks the runs of a backfill; documented for filters of runs.
DAGSTER_BACKFILL_TAG = "dagster/backfill"

UNFINISHED_RUNS = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

AssetGraph: TypeAlias = "BaseAssetGraph[Any]"
"""The assets of a code location: `repository_def.asset_graph` of a sensor's context."""


@dataclass(frozen=True, slots=True)
class AssetPartitions:
    """What a Dagster backfill loads, and how its runs are set up.

    Attributes:
        asset_key: With slashes.
        keys: Partition keys.
        tags: Of the backfill and of each of its runs.
        title: Shown in the UI.
        config: Of the asset's step.
    """

    asset_key: str
    keys: Sequence[str]
    tags: Mapping[str, str]
    title: str
    config: Mapping[str, object]


def add_backfill(
    instance: dg.DagsterInstance,
    graph: AssetGraph,
    dagster_backfill_id: str,
    wanted: AssetPartitions,
    now: datetime,
) -> None:
    """Hand a backfill to Dagster's daemon, which makes runs of it as the asset's policy says.

    Raises:
        RunRefused: The asset is not known here, or has no such partition.
    """
    key = dg.AssetKey(wanted.asset_key.split("/"))
    if not graph.has(key) or not graph.get(key).is_partitioned:
        raise RunRefused(
            f"asset {wanted.asset_key} is not among the partitioned assets of this code location, "
            "expected it there; compare the feed's name with batch_assets.toml, and restart what "
            "was started before it was changed"
        )
    partitions = graph.get(key).partitions_def
    unknown = [name for name in wanted.keys if not (partitions and name in _Keys(partitions))]
    if unknown:
        raise RunRefused(
            f"asset {wanted.asset_key} has no partition {unknown[0]}"
            + (f" nor {len(unknown) - 1} others asked for" if len(unknown) > 1 else "")
            + ", expected its first day to be first_day of [dagster] or later, and its last "
            "today; correct the range"
        )
    # Imported here: a code location starts without them, some 0.15 s sooner.
    from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
    from dagster._core.execution.backfill import PartitionBackfill

    chosen = partitions.subset_with_partition_keys(list(wanted.keys)) if partitions else None
    instance.add_backfill(
        PartitionBackfill.from_asset_graph_subset(
            backfill_id=dagster_backfill_id,
            backfill_timestamp=now.timestamp(),
            tags=dict(wanted.tags),
            dynamic_partitions_store=instance,
            asset_graph_subset=AssetGraphSubset(  # type: ignore[call-arg]
                # reason: Dagster wraps the class in a way that hides its two fields
                {} if chosen is None else {key: chosen},
                set(),
            ),
            title=wanted.title,
            description=None,
            run_config={"ops": {"__".join(key.path): {"config": dict(wanted.config)}}},
        )
    )


class _Keys:
    """Membership by asking the definition, which does not list thousands of keys for it."""

    def __init__(self, partitions: dg.PartitionsDefinition[str]) -> None:
        self._partitions = partitions

    def __contains__(self, name: str) -> bool:
        return self._partitions.has_partition_key(name)


@dataclass(frozen=True, slots=True)
class SeenDagsterBackfill:
    """A Dagster backfill at one moment."""

    status: DagsterBackfillState
    error: str


def read_status(
    instance: dg.DagsterInstance, dagster_backfill_id: str
) -> SeenDagsterBackfill | None:
    """How a backfill is; None if Dagster does not know it, or no longer."""
    found = instance.get_backfill(dagster_backfill_id)
    if found is None:
        return None
    error = found.error.message.strip() if found.error is not None else ""
    return SeenDagsterBackfill(DagsterBackfillState(found.status.value), error)


def cancel_backfill(instance: dg.DagsterInstance, dagster_backfill_id: str) -> bool:
    """Ask the daemon to end a backfill; False if there is nothing left to end.

    Dagster's own call rewrites a finished backfill to CANCELED. Here one that is finished, or is
    about to be because all its runs are, stays as it is.
    """
    from dagster._core.execution.backfill import BulkActionStatus

    found = instance.get_backfill(dagster_backfill_id)
    if found is None or found.status is not BulkActionStatus.REQUESTED:
        return False
    of_it = {DAGSTER_BACKFILL_TAG: dagster_backfill_id}
    unfinished = dg.RunsFilter(tags=of_it, statuses=list(UNFINISHED_RUNS))
    # The daemon finishes a backfill only after it has seen all of its runs finished.
    has_work = instance.get_runs_count(unfinished) > 0
    if not has_work and instance.get_runs_count(dg.RunsFilter(tags=of_it)) > 0:
        return False
    instance.update_backfill(
        found.with_status(BulkActionStatus.CANCELING)  # type: ignore[no-untyped-call]
        # reason: Dagster gives it no types
    )
    return True
