"""Dagster's own backfills: add one, see how it is, find those of others, ask for the end of one.

The one module that uses private parts of Dagster. A backfill has no public name in Python: its
public door is GraphQL, which needs a webserver, and neither a daemon alone nor a test has one.
What is used here has been the same since 1.9; pyproject.toml pins the minor version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from batch_assets.errors import RunRefused
from batch_assets.runs.backfill_states import DAGSTER_BACKFILL_TAG
from batch_assets.runs.watch import BackfillState as DagsterBackfillState

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
    from dagster._core.execution.backfill import BulkActionsFilter, PartitionBackfill

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
            run_config=_config_of_step(graph, key, wanted.config),
        )
    )


def _config_of_step(
    graph: AssetGraph, key: dg.AssetKey, config: Mapping[str, object]
) -> dict[str, object]:
    return {"ops": {step_of(graph, key): {"config": dict(config)}}} if config else {}


def step_of(graph: AssetGraph, key: dg.AssetKey) -> str:
    """The step that writes an asset: what its configuration is under."""
    return str(graph.get(key).assets_def.node_def.name)


class _Keys:
    """Membership by asking the definition, which does not list thousands of keys for it."""

    def __init__(self, partitions: dg.PartitionsDefinition[str]) -> None:
        self._partitions = partitions

    def __contains__(self, name: str) -> bool:
        return self._partitions.has_partition_key(name)


@dataclass(frozen=True, slots=True)
class SeenDagsterBackfill:
    """A Dagster backfill at one moment.

    Attributes:
        status: Dagster's own.
        error: Why Dagster could not go on; empty if it could.
        ended_at: When it ended; None before, and where Dagster did not write it down.
    """

    status: DagsterBackfillState
    error: str
    ended_at: datetime | None


def read_status(
    instance: dg.DagsterInstance, dagster_backfill_id: str
) -> SeenDagsterBackfill | None:
    """How a backfill is; None if Dagster does not know it, or no longer."""
    found = instance.get_backfill(dagster_backfill_id)
    if found is None:
        return None
    error = found.error.message.strip() if found.error is not None else ""
    ended = found.backfill_end_timestamp
    return SeenDagsterBackfill(
        DagsterBackfillState(found.status.value),
        error,
        None if ended is None else datetime.fromtimestamp(ended, UTC),
    )


# Read in one go: the body of one takes a few kilobytes, more while thousands of its days are open.
_PAGE = 50


@dataclass(frozen=True, slots=True)
class FoundBackfill:
    """A Dagster backfill that was found in a list, whoever launched it."""

    found: "PartitionBackfill"

    @property
    def dagster_backfill_id(self) -> str:
        """Its id."""
        return self.found.backfill_id

    @property
    def launched_at(self) -> datetime:
        """When somebody asked Dagster for it."""
        return datetime.fromtimestamp(self.found.backfill_timestamp, UTC)

    @property
    def tags(self) -> Mapping[str, str]:
        """Of itself and of each of its runs."""
        return self.found.tags

    def asset_keys(self, repository: dg.RepositoryDefinition, location: str | None) -> list[str]:
        """Assets it loads, with slashes; none where it runs a job of another code location."""
        if self.found.asset_selection is not None:
            return ["/".join(key.path) for key in self.found.asset_selection]
        origin, job = self.found.partition_set_origin, self.found.job_name
        if origin is None or job is None or not repository.has_job(job):
            return []
        of_origin = origin.repository_origin
        is_ours = of_origin.repository_name == repository.name and location in (
            None,
            of_origin.code_location_origin.location_name,
        )
        keys = repository.get_job(job).asset_layer.selected_asset_keys if is_ours else ()
        return ["/".join(key.path) for key in keys]

    def partition_keys(self, asset_key: str, graph: AssetGraph) -> list[str]:
        """Partitions of one of its assets, oldest first; none if it has none."""
        key = dg.AssetKey(asset_key.split("/"))
        if not graph.has(key) or not graph.get(key).is_partitioned:
            return []
        if self.found.partition_names is not None:
            return sorted(self.found.partition_names)
        if not self.found.is_asset_backfill:
            return []
        targets = self.found.get_asset_backfill_data(graph).target_subset
        return sorted(targets.get_partitions_subset(key).get_partition_keys())

    def config_of(self, asset_key: str, graph: AssetGraph) -> Mapping[str, Any]:
        """What a person set for the asset's step."""
        found: object = self.found.run_config
        # Dagster looks at what somebody typed when a run begins, and not before.
        for name in ("ops", step_of(graph, dg.AssetKey(asset_key.split("/"))), "config"):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def find_backfills(
    instance: dg.DagsterInstance, launched_after: datetime
) -> Iterator[list[FoundBackfill]]:
    """Backfills that have not ended, and those launched lately, ended or not, page by page.

    Args:
        instance: Of Dagster.
        launched_after: What ended and is older is not looked at, however much of it there is.

    Yields:
        Pages, newest first; a backfill that is both open and new comes twice.
    """
    from dagster._core.execution.backfill import (
        BULK_ACTION_TERMINAL_STATUSES,
        BulkActionsFilter,
        BulkActionStatus,
    )

    is_open = [one for one in BulkActionStatus if one not in BULK_ACTION_TERMINAL_STATUSES]
    yield from _pages(instance, BulkActionsFilter(statuses=is_open))
    yield from _pages(instance, BulkActionsFilter(created_after=launched_after))


def _pages(
    instance: dg.DagsterInstance, wanted: "BulkActionsFilter"
) -> Iterator[list[FoundBackfill]]:
    cursor: str | None = None
    while True:
        page = instance.get_backfills(filters=wanted, cursor=cursor, limit=_PAGE)
        if page:
            yield [FoundBackfill(one) for one in page]
        if len(page) < _PAGE:
            return
        cursor = page[-1].backfill_id


def list_run_ids(instance: dg.DagsterInstance, dagster_backfill_id: str) -> list[str]:
    """Runs that Dagster made of a backfill."""
    return list(
        instance.get_run_ids(dg.RunsFilter(tags={DAGSTER_BACKFILL_TAG: dagster_backfill_id}))
    )


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
