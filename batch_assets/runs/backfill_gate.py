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
from batch_assets.runs.backfill_states import BACKFILL_TAG, DAGSTER_BACKFILL_TAG

# A pause shows within a second; the question costs 3 ms, most of it the connection.
ASK_EVERY_SECONDS = 1.0


@dataclass(slots=True)
class BackfillGate:
    """The gate of one run.

    Attributes:
        connect: Opens a connection, which is closed here.
        run_id: Of Dagster.
        feed: A pause of it holds the run, whoever started it.
        backfill_id: Of ops.backfills; None for a run of no backfill, and of one that was launched
            in Dagster itself until it is adopted.
        dagster_backfill_id: The Dagster backfill that made the run; empty if none did.
        is_closed: It was found closed, and stays so.
    """

    connect: Callable[[], psycopg.Connection]
    run_id: str
    feed: str
    backfill_id: int | None = None
    dagster_backfill_id: str = ""
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

    def join(self) -> None:
        """Count the run as one of its backfill, if there is one by now."""
        if self.backfill_id is None and not self.dagster_backfill_id:
            return
        with closing(self.connect()) as conn:
            self._join(conn)
            conn.commit()

    def _join(self, conn: psycopg.Connection) -> None:
        if self.backfill_id is not None:
            conn.execute(
                "INSERT INTO ops.backfill_runs (run_id, backfill_id) VALUES (%s, %s)"
                " ON CONFLICT DO NOTHING",
                (self.run_id, self.backfill_id),
            )
        elif self.dagster_backfill_id:
            row = conn.execute(
                read_query("join_backfill"),
                {
                    "run_id": self.run_id,
                    "feed": self.feed,
                    "dagster_backfill_id": self.dagster_backfill_id,
                },
            ).fetchone()
            self.backfill_id = None if row is None else int(row[0])

    def _ask(self) -> None:
        with closing(self.connect()) as conn:
            if self.backfill_id is None:
                self._join(conn)
            parameters = {
                "run_id": self.run_id,
                "feed": self.feed,
                "backfill_id": self.backfill_id,
            }
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
    gate = BackfillGate(connect, run_id, feed)
    # The number is copied to whatever somebody repeats on Dagster's pages; Dagster's id is not.
    gate.dagster_backfill_id = tags.get(DAGSTER_BACKFILL_TAG, "")
    number = tags.get(BACKFILL_TAG, "")
    if number.isdigit() and not gate.dagster_backfill_id:
        gate.backfill_id = int(number)
    gate.join()
    return gate
