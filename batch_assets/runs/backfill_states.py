"""States of our backfills, and the tags that tie Dagster's runs to them. Imports no Dagster."""

from enum import StrEnum

# On each Dagster backfill of ours and on each of its runs: the number in ops.backfills.
BACKFILL_TAG = "batch_assets/backfill"

# Below the 0 of schedules and manual runs, so that today's data is dequeued before history.
BACKFILL_PRIORITY = -10
PRIORITY_TAG = "dagster/priority"


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
