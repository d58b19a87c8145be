"""May a run begin its next partition? Asked by assets; imports no Dagster.

A pause or a cancellation takes effect here: the partition being loaded ends, no other begins. What
became of the rest is then up to the driver (backfill_driver.py).
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.backfill_states import BACKFILL_TAG

# A pause shows within a second; the question costs 3 ms, most of it the connection.
ASK_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class BackfillGate:
    """The gate of one run.

    Attributes:
        connect: Opens a connection, which is closed here.
        run_id: Of Dagster.
        feed: A pause of it holds the run, whoever started it.
        backfill_id: Of ops.backfills; None for a run of no backfill of ours.
        is_closed: It was found closed, and stays so.
    """

    connect: Callable[[], psycopg.Connection]
    run_id: str
    feed: str
    backfill_id: int | None
    is_closed: bool = False
    _asked_at: float = field(default=float("-inf"), repr=False)

    def may_begin(self) -> bool:
        """Whether another partition may be begun."""
        if self.is_closed:
            return False
        now = time.monotonic()
        if now - self._asked_at >= ASK_EVERY_SECONDS:
            self._asked_at = now
            self._ask()
        return not self.is_closed

    def _ask(self) -> None:
        parameters = {"run_id": self.run_id, "feed": self.feed, "backfill_id": self.backfill_id}
        with closing(self.connect()) as conn:
            row = conn.execute(read_query("ask_gate"), parameters).fetchone()
            self.is_closed = row is None or bool(row[0])
            if self.is_closed and self.backfill_id is not None:
                conn.execute(read_query("hold_backfill"), parameters)
            conn.commit()


def open_gate(
    connect: Callable[[], psycopg.Connection], run_id: str, feed: str, tags: Mapping[str, str]
) -> BackfillGate:
    """The gate of a run, which counts as one of its backfill from now on.

    Args:
        connect: Opens a connection.
        run_id: Of Dagster.
        feed: What it loads.
        tags: Of the run.
    """
    number = tags.get(BACKFILL_TAG, "")
    backfill_id = int(number) if number.isdigit() else None
    if backfill_id is not None:
        with closing(connect()) as conn:
            conn.execute(
                "INSERT INTO ops.backfill_runs (run_id, backfill_id) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (run_id, backfill_id),
            )
            conn.commit()
    return BackfillGate(connect, run_id, feed, backfill_id)
