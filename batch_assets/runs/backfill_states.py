"""States of our backfills, and the tags that tie Dagster's runs to them. Imports no Dagster."""

from collections.abc import Mapping
from enum import StrEnum

# On each Dagster backfill of ours and on each of its runs: the number in ops.backfills.
BACKFILL_TAG = "batch_assets/backfill"

# How Dagster marks the runs of a backfill; documented for filters of runs.
DAGSTER_BACKFILL_TAG = "dagster/backfill"

# Below the 0 of schedules and manual runs, so that today's data is dequeued before history.
BACKFILL_PRIORITY = -10
PRIORITY_TAG = "dagster/priority"
# What the column of ops.backfills holds.
_PRIORITY_MAX = 2**31 - 1


class BackfillState(StrEnum):
    """How far a backfill is."""

    REQUESTED = "requested"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Nothing more happens under this number."""
        return self in _FINAL


_FINAL = frozenset(
    {
        BackfillState.SUCCESS,
        BackfillState.PARTIAL,
        BackfillState.FAILED,
        BackfillState.CANCELED,
    }
)


class Wanted(StrEnum):
    """What people asked for last."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


def priority_of(tags: Mapping[str, str]) -> int:
    """What Dagster's queue makes of the tags of a run; one that is no number counts as none."""
    try:
        wanted = int(tags.get(PRIORITY_TAG, "0"))
    except ValueError:
        return 0
    return max(-_PRIORITY_MAX, min(wanted, _PRIORITY_MAX))
