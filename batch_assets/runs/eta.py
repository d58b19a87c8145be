"""When a backfill ends, learnt from the partitions that ended: values and the door. Pure.

The statistics are in eta_draws.py, which needs NumPy and is imported when something is estimated.
What is read for an estimate, and how good past ones were, is in eta_records.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Fewer tell nothing about the rest, unless earlier backfills do.
LEAST_HISTORY = 3

# Dagster looks at its backfills, and our driver at Dagster's, every few seconds: so long after the
# last partition a backfill ends where no earlier one tells.
_CLOSING_SECONDS = (5.0, 10.0, 20.0, 35.0)


@dataclass(frozen=True, slots=True)
class PartitionTime:
    """A partition that ended: when, and whether it was work or passed over (`skipped`).

    Attributes:
        run_id: The run that did it; a run does one partition after the other.
    """

    key: str
    state: str
    started_at: datetime
    finished_at: datetime
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left.

    Attributes:
        keys: Partitions without an outcome, oldest first; those being loaded now included.
        running_since: When those being loaded now were begun, by key.
        now: The present.
        lanes: Runs that may work at once, if more partitions wait; None for as many as did.
        run_partitions: The most a run takes; None where one run takes all it can.
    """

    keys: Sequence[str]
    running_since: dict[str, datetime]
    now: datetime
    lanes: int | None = None
    run_partitions: int | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier backfills of the asset tell.

    Attributes:
        partitions: Of the newest of them, in order of their ends.
        closing_seconds: From the last end of a partition to the end of the backfill.
    """

    partitions: Sequence[PartitionTime] = ()
    closing_seconds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the end is expected: as likely before as after `p50_at`, before `p90_at` in 9 of 10."""

    p50_at: datetime
    p90_at: datetime


def estimate(
    history: Sequence[PartitionTime], remaining: Remaining, earlier: Earlier | None = None
) -> Estimate | None:
    """Estimate the end of a backfill. The same arguments give the same answer.

    Args:
        history: Partitions of this backfill that ended, in order of their ends.
        remaining: What is left.
        earlier: Counts the less, the more this backfill has to tell.

    Returns:
        None while too little is known.
    """
    earlier = earlier or Earlier()
    if len(history) < LEAST_HISTORY and len(earlier.partitions) < LEAST_HISTORY:
        return None
    from batch_assets.runs.eta_draws import draw_seconds

    closing = list(earlier.closing_seconds) or list(_CLOSING_SECONDS)
    p50, p90 = draw_seconds(history, remaining, earlier.partitions, closing)
    return Estimate(remaining.now + timedelta(seconds=p50), remaining.now + timedelta(seconds=p90))
