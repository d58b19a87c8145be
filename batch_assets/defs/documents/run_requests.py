"""Which runs to ask for: one for each arrival day that has files to read, and none twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg

from batch_assets.defs.documents.asset_keys import (
    ALL_SOURCES,
    SOURCE_TAG,
    WAITING_TAG,
    documents_key_of,
    step_name_of,
)
from batch_assets.ingest.documents.waiting import WaitingDay
from batch_assets.sources.documents.landing import ScanReport
from batch_assets.sources.documents.sources import DocumentSource

# Days asked for in one tick; the next ones follow with the next tick.
DAYS_PER_TICK = 25

# How long files wait for others of their day that are still being written or listed, so that they
# share a run.
GATHER_SECONDS = 60.0

# A run that ended and left the same files waiting is followed by another: soon, then less often.
FIRST_AGAIN_SECONDS = 60.0
MOST_AGAIN_SECONDS = 3_600.0

# Earlier runs looked at: with so many the wait is the longest.
_COUNTED_RUNS = 7

_PARTITION_TAG = "dagster/partition"
_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"

_IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Requests:
    """What a tick asks for, and why not for more.

    Attributes:
        runs: One for each day.
        notes: Days that wait, with the reason.
    """

    runs: list[dg.RunRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick of a sensor or schedule has seen.

    Attributes:
        source: Whose landing folder it is.
        partitions: Of its assets.
        report: Of the scan.
        waiting: Days that have files to read, oldest first.
        now: The present, aware.
        gathers: Whether a day that is still being filled waits for the next tick.
    """

    source: DocumentSource
    partitions: dg.PartitionsDefinition[str]
    report: ScanReport
    waiting: Sequence[WaitingDay]
    now: datetime
    gathers: bool = True


def evaluate_requests(instance: dg.DagsterInstance, tick: Tick) -> Requests:
    """Decide; the same tick twice gives the same run keys, and Dagster starts each key once."""
    found = Requests()
    busy: _BusyDays | None = None
    for day in tick.waiting:
        key = day.day.isoformat()
        if len(found.runs) == DAYS_PER_TICK:
            found.notes.append(f"{key} and later days follow with the next tick")
            break
        if not tick.partitions.has_partition_key(key):
            found.notes.append(
                f"{key} is no partition: {day.waiting} files wait for that day, or for an earlier "
                "first_day in [dagster]; `batch-assets documents ingest --day` reads them now"
            )
            continue
        if tick.gathers and _is_gathering(tick.report, day):
            found.notes.append(f"{key} is still being filled")
            continue
        busy = busy or _BusyDays.read(instance, tick.source)
        if busy.has(key):
            found.notes.append(f"{key} is being read by a run")
            continue
        request = _request(instance, tick, day)
        if request is None:
            found.notes.append(f"{key} was not ended by its last run, and is tried again later")
        else:
            found.runs.append(request)
    return found


def _is_gathering(report: ScanReport, day: WaitingDay) -> bool:
    more_may_come = bool(day.growing) or not report.is_complete
    return more_may_come and day.waiting_seconds < GATHER_SECONDS


@dataclass(frozen=True, slots=True)
class _BusyDays:
    """Partitions of a source that runs in progress are going to read."""

    keys: frozenset[str]
    ranges: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, instance: dg.DagsterInstance, source: DocumentSource) -> "_BusyDays":
        """Look at the runs in progress, whoever started them."""
        keys, ranges = set(), []
        asset_key = documents_key_of(source)
        for run in instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS)):
            is_ours = run.tags.get(SOURCE_TAG) in (source.name, ALL_SOURCES)
            if not is_ours and asset_key not in (run.asset_selection or ()):
                continue
            if _PARTITION_TAG in run.tags:
                keys.add(run.tags[_PARTITION_TAG])
            if _RANGE_START_TAG in run.tags and _RANGE_END_TAG in run.tags:
                ranges.append((run.tags[_RANGE_START_TAG], run.tags[_RANGE_END_TAG]))
        return cls(frozenset(keys), tuple(ranges))

    def has(self, key: str) -> bool:
        """Whether a run in progress reads this day."""
        return key in self.keys or any(first <= key <= last for first, last in self.ranges)


def _request(instance: dg.DagsterInstance, tick: Tick, day: WaitingDay) -> dg.RunRequest | None:
    """A run for one day; None if its last one has only just ended without success."""
    key = day.day.isoformat()
    tags = {SOURCE_TAG: tick.source.name, WAITING_TAG: day.fingerprint}
    # Runs for exactly these files: none of them has read even one, or the fingerprint was another.
    ended = instance.get_run_records(
        dg.RunsFilter(tags={**tags, _PARTITION_TAG: key}), limit=_COUNTED_RUNS
    )
    newest = ended[0].dagster_run.run_id if ended else "first"
    if ended:
        wait_seconds = min(MOST_AGAIN_SECONDS, FIRST_AGAIN_SECONDS * 2 ** (len(ended) - 1))
        last = max(record.end_time or record.update_timestamp.timestamp() for record in ended)
        if tick.now.timestamp() < last + wait_seconds:
            return None
    return dg.RunRequest(
        # The run before is a part: what a killed run left is asked for again, once for each run.
        run_key=f"{tick.source.name} {key} {day.fingerprint} {newest}",
        partition_key=key,
        tags=tags,
        run_config={"ops": {step_name_of(tick.source): {"config": {"scan": False}}}},
    )
