"""When a backfill ends, learnt from the partitions that ended. Pure functions.

What is measured about past estimates is in ops.eta_accuracy.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Fewer tell nothing about the rest.
LEAST_HISTORY = 3


@dataclass(frozen=True, slots=True)
class PartitionTime:
    """A partition that ended: when, and whether it was work or passed over."""

    key: str
    state: str
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left.

    Attributes:
        keys: Partitions without an outcome, oldest first.
        running_since: When those being loaded now were begun, by key.
        now: The present.
    """

    keys: Sequence[str]
    running_since: dict[str, datetime]
    now: datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    """When the end is expected: as likely before as after `p50_at`, before `p90_at` in 9 of 10."""

    p50_at: datetime
    p90_at: datetime


def estimate(history: Sequence[PartitionTime], remaining: Remaining) -> Estimate | None:
    """Estimate the end from the median time between two ends of partitions.

    Args:
        history: Partitions of this backfill that ended, in order of their ends.
        remaining: What is left.

    Returns:
        None while too little is known.
    """
    if len(history) < LEAST_HISTORY:
        return None
    ends = [item.finished_at for item in history]
    steps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(ends)]
    median = statistics.median(steps)
    slow = statistics.quantiles(steps, n=10)[-1] if len(steps) > 1 else median
    count = len(remaining.keys)
    return Estimate(
        remaining.now + timedelta(seconds=median * count),
        remaining.now + timedelta(seconds=max(median, slow) * count),
    )
