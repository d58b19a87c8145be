"""Follow a backfill to its end, and say how it ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

import psycopg

import batch_assets.errors as tree
from batch_assets.errors import (
    BatchAssetsError,
    LeaseError,
    RejectLimitExceeded,
    SourceUnavailable,
    WindowRuleBroken,
)
from batch_assets.ops.backfills.read import read_errors, read_progress
from batch_assets.ops.backfills.values import PartitionError, Progress
from batch_assets.postgres.connect import translating_errors
from batch_assets.runs.backfill_states import BackfillState
from batch_assets.runs.eta_records import KeptEstimates

# What a person notices as live; a look costs the server 2 ms for sixty days.
LOOK_EVERY_SECONDS = 1.0


def follow(
    connect: Callable[[], psycopg.Connection],
    backfill_id: int,
    *,
    stop: threading.Event,
    every_seconds: float = LOOK_EVERY_SECONDS,
) -> Iterator[Progress]:
    """Progress at once and then regularly; the last one is of the end.

    Args:
        connect: Opens a connection; one is kept while the backfill is followed.
        backfill_id: Of ops.backfills.
        stop: Set by somebody else to stop following; the backfill goes on.
        every_seconds: Between two looks.

    Raises:
        UnknownBackfill: There is none of that number.
    """
    estimates = KeptEstimates()
    with closing(connect()) as conn, translating_errors():
        while True:
            progress = read_progress(conn, backfill_id, datetime.now(UTC), estimates)
            conn.rollback()
            yield progress
            if progress.backfill.state.is_final or stop.wait(every_seconds):
                return


def newest_errors(conn: psycopg.Connection, backfill_id: int, limit: int) -> list[PartitionError]:
    """The newest errors of a backfill, at most so many."""
    return list(read_errors(conn, backfill_id, limit=limit).errors)


# Exit statuses of a command line, fixed once (batch_assets/ops/cli/main.py lists all).
OK, FAILED, OVER_BUDGET, PARTIAL, LEASE_HELD, NO_SOURCE = 0, 1, 3, 4, 5, 6


def exit_status(progress: Progress, errors: list[PartitionError]) -> int:
    """How a backfill ended, as the exit status of a command.

    Over the error budget (3) is said also where other partitions are good: rows were refused, and
    somebody has to look. The other reasons (5, 6) are said where nothing is good, else 4.

    Args:
        progress: After its end.
        errors: All of them.
    """
    if progress.backfill.state is BackfillState.SUCCESS:
        return OK
    kinds = [_class_of(error) for error in errors if error.state == "failed"]
    if any(issubclass(kind, RejectLimitExceeded | WindowRuleBroken) for kind in kinds):
        return OVER_BUDGET
    if progress.backfill.state is BackfillState.PARTIAL or progress.success + progress.partial:
        return PARTIAL
    if kinds and all(issubclass(kind, LeaseError) for kind in kinds):
        return LEASE_HELD
    if kinds and all(issubclass(kind, SourceUnavailable) for kind in kinds):
        return NO_SOURCE
    return FAILED


def _class_of(error: PartitionError) -> type[BaseException]:
    found = getattr(tree, error.error_class, None)
    return found if isinstance(found, type) else BatchAssetsError


class Pace:
    """Says when the next line is due: at once for what is new, else every so often."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._said_at: float | None = None
        self._phase = ""

    def is_due(self, progress: Progress) -> bool:
        """Whether a line about this progress is due now."""
        now = time.monotonic()
        phase = progress.backfill.phase
        is_late = self._said_at is None or now - self._said_at >= self._every_seconds
        if not is_late and phase == self._phase:
            return False
        self._said_at, self._phase = now, phase
        return True
