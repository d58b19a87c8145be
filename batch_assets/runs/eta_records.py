"""Estimates of when backfills end: read what they need, keep them, and judge them at the end.

An estimate is kept the first time a backfill is seen in each tenth of its way. It is judged by the
backfill's end if nothing but work lay between: no pause, no cancellation. Functions take a
connection and leave the commit to their caller.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row, tuple_row

from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.eta import Earlier, Estimate, PartitionTime, Remaining, estimate

# With so many partitions of its own, a backfill needs no others to tell its speed.
_ENOUGH_OWN = 20

# An estimate is used again for so many times as long as it took: it costs 0.5 % of a core at most.
_USED_FOR = 200
_KEPT_BACKFILLS = 100


@dataclass(frozen=True, slots=True)
class EtaAccuracy:
    """How good past estimates were.

    Attributes:
        backfills: Those that were judged.
        estimates: Estimates of theirs, at most ten each.
        later_than_p50_pct: Ends that came after `p50_at`; 50 is right.
        later_than_p90_pct: Ends that came after `p90_at`; 10 is right.
    """

    backfills: int
    estimates: int
    later_than_p50_pct: float
    later_than_p90_pct: float


@dataclass(frozen=True, slots=True)
class _Kept:
    estimate: Estimate
    until: float


class KeptEstimates:
    """Estimates of one process, for whoever looks again soon: the end moves slowly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """None is kept yet.

        Args:
            clock: Seconds; those an estimate takes, and those it is kept.
        """
        self._clock = clock
        self._kept: dict[tuple[int, str], _Kept] = {}
        self._lock = threading.Lock()

    def read(
        self, conn: psycopg.Connection, backfill_id: int, phase: str, now: datetime
    ) -> Estimate | None:
        """As `read_estimate`; another phase of the backfill is estimated anew."""
        began, name = self._clock(), (backfill_id, phase)
        kept = self._kept.get(name)
        # One that has passed is no estimate any more.
        if kept is not None and began < kept.until and kept.estimate.p50_at > now:
            return kept.estimate
        found = read_estimate(conn, backfill_id, now)
        if found is not None:
            took = self._clock() - began
            with self._lock:
                if len(self._kept) >= _KEPT_BACKFILLS:
                    self._kept.clear()
                self._kept[name] = _Kept(found, began + took + _USED_FOR * took)
        return found


def read_estimate(conn: psycopg.Connection, backfill_id: int, now: datetime) -> Estimate | None:
    """When a backfill ends; None while too little is known.

    Args:
        conn: Its transaction is left open.
        backfill_id: Of ops.backfills.
        now: The present.
    """
    return _estimate(conn, backfill_id, now)[0]


def _estimate(
    conn: psycopg.Connection, backfill_id: int, now: datetime
) -> tuple[Estimate | None, int, int]:
    """The estimate, and how many partitions of how many have ended."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(read_query("read_backfill_times"), (backfill_id,)).fetchall()
    history = [PartitionTime(*row) for row in rows if row[3] is not None]
    left = sorted(row[0] for row in rows if row[3] is None)
    running = {row[0]: row[2] for row in rows if row[3] is None and row[2] is not None}
    earlier = Earlier()
    if len(history) < _ENOUGH_OWN:
        earlier = _read_earlier(conn, backfill_id)
    remaining = Remaining(left, running, now)
    return estimate(history, remaining, earlier), len(history), len(rows)


def _read_earlier(conn: psycopg.Connection, backfill_id: int) -> Earlier:
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            read_query("read_earlier_times"), {"backfill_id": backfill_id}
        ).fetchall()
    closing = {row[5]: row[6] for row in rows}
    return Earlier(
        partitions=[PartitionTime(*row[:5]) for row in rows],
        closing_seconds=sorted(closing.values()),
    )


def record_estimate(conn: psycopg.Connection, backfill_id: int, now: datetime) -> Estimate | None:
    """Keep the present estimate, if it is the first one in this tenth of the way.

    Returns:
        What was kept; None if this tenth has its estimate, or too little is known.
    """
    found, done, total = _estimate(conn, backfill_id, now)
    if found is None or done >= total:
        return None
    kept = conn.execute(
        # estimated_at is on the database's clock, as segments are: pauses are told apart by them.
        "INSERT INTO ops.eta_accuracy (backfill_id, done_tenths, p50_at, p90_at)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (backfill_id, 10 * done // total, found.p50_at, found.p90_at),
    )
    return found if kept.rowcount else None


def judge_estimates(conn: psycopg.Connection, backfill_id: int) -> int:
    """Write the end of a backfill beside its estimates; returns how many can be judged."""
    return conn.execute(read_query("judge_estimates"), {"backfill_id": backfill_id}).rowcount


def read_accuracy(conn: psycopg.Connection, feed: str | None = None) -> EtaAccuracy | None:
    """How good past estimates were, of one feed or of all; None before the first was judged."""
    with conn.cursor(row_factory=class_row(EtaAccuracy)) as cursor:
        return cursor.execute(read_query("read_eta_accuracy"), {"feed": feed}).fetchone()
