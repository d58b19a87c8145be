"""Carry out what is wanted of backfills: hand them to Dagster, hold them, close them.

Those that were launched in Dagster itself (backfill_adoption.py) are held, ended and closed as ours
are; they are handed to Dagster again where a person held them and lets them go on, never by itself.

One look costs a few queries a backfill that has not ended. It may be repeated and interrupted at
any point: what is to be done is decided from what is there (backfill_steps.py), and a Dagster
backfill is recorded under its id before Dagster is told.
"""

import logging
import secrets
import string
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import psycopg
from psycopg.rows import dict_row

from batch_assets.errors import BatchAssetsError
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs import dagster_backfills as door
from batch_assets.runs.backfill_adoption import record_runs
from batch_assets.runs.backfill_states import (
    BACKFILL_TAG,
    DAGSTER_BACKFILL_TAG,
    PRIORITY_TAG,
    BackfillState,
    Wanted,
    priority_of,
)
from batch_assets.runs.backfill_steps import SeenBackfill, Step, evaluate_step
from batch_assets.runs.eta_records import judge_estimates, record_estimate
from batch_assets.runs.watch import BackfillState as DagsterState

logger = logging.getLogger(__name__)

# Any fixed number does; two drivers at once would launch a backfill twice.
_DRIVER_LOCK = 0x6261_6472

# A run whose process was killed is started again by Dagster, at most so often; a run with failed
# days is not (retry_on_asset_or_op_failure in dagster.yaml): they would fail again.
CRASH_RETRIES = 3

_ID_LENGTH = 8
# The end of a segment that a pause took back; otherwise it is Dagster's own status.
_HELD = "held"

_QUEUED = dg.DagsterRunStatus.QUEUED


@dataclass(frozen=True, slots=True)
class Driven:
    """What was done for a backfill, for a person."""

    backfill_id: int
    step: Step
    message: str


def drive_backfills(
    instance: dg.DagsterInstance,
    graph: door.AssetGraph,
    connect: Callable[[], psycopg.Connection],
    *,
    now: datetime,
) -> list[Driven]:
    """Look once at every backfill that has not ended, and do what it needs.

    Args:
        instance: Of Dagster.
        graph: Assets of the code location; `context.repository_def.asset_graph` of a sensor.
        connect: Opens a connection, which is closed here.
        now: The present.

    Returns:
        What was done; empty also while another driver is at it.
    """
    with closing(connect()) as conn, translating_errors():
        row = conn.execute("SELECT pg_try_advisory_lock(%s)", (_DRIVER_LOCK,)).fetchone()
        if row is None or not row[0]:
            return []
        with conn.cursor(row_factory=dict_row) as cursor:
            waiting = cursor.execute(read_query("read_backfills_to_drive")).fetchall()
        conn.commit()
        done = [_Drive(instance, graph, conn, now, item).once() for item in waiting]
        # The server lets go of it only some time after the connection is closed.
        conn.execute("SELECT pg_advisory_unlock(%s)", (_DRIVER_LOCK,))
        conn.commit()
        return [item for item in done if item is not None]


@dataclass(slots=True)
class _Drive:
    instance: dg.DagsterInstance
    graph: door.AssetGraph
    conn: psycopg.Connection
    now: datetime
    row: dict[str, Any]

    @property
    def backfill_id(self) -> int:
        return int(self.row["backfill_id"])

    def once(self) -> Driven | None:
        """One look; a backfill that Dagster refuses is closed, and does not hold up the others."""
        dagster_id: str | None = self.row["dagster_backfill_id"]
        status = door.read_status(self.instance, dagster_id) if dagster_id else None
        runs = self._unfinished_runs()
        # Dagster calls a backfill of a job so once all its runs are in the queue.
        is_handed_on = status is not None and status.status is DagsterState.COMPLETED
        is_over = status is None or (status.status.is_final and not (is_handed_on and runs))
        if self.row["is_adopted"] and dagster_id is not None:
            self._record_runs(dagster_id, runs, is_over=is_over)
        rest = self._rest()
        step = evaluate_step(
            SeenBackfill(
                wanted=Wanted(self.row["wanted"]),
                state=BackfillState(self.row["state"]),
                is_feed_paused=self.row["is_feed_paused"],
                has_segment=dagster_id is not None,
                is_over=is_over,
                is_canceled_elsewhere=status is not None
                and status.status is DagsterState.CANCELED
                and self.row["end_status"] != _HELD,
                is_held=bool(self.row["is_held"]),
                is_retry_lost=is_over and not runs and self._is_retry_lost(dagster_id),
                active_runs=sum(run.status is not _QUEUED for run in runs),
                # Runs that load other assets, too, are not taken out of the queue.
                queued_runs=0
                if self.row["is_shared"]
                else sum(run.status is _QUEUED for run in runs),
                rest=len(rest),
            )
        )
        if dagster_id and is_over:
            self._end_segment(dagster_id, status)
        self._reorder(runs)
        self._record_estimate(len(rest))
        return self._act(step, dagster_id, status, runs, rest)

    def _act(
        self,
        step: Step,
        dagster_id: str | None,
        status: door.SeenDagsterBackfill | None,
        runs: list[dg.DagsterRun],
        rest: list[str],
    ) -> Driven | None:
        match step:
            case Step.LAUNCH:
                return self._launch(rest)
            case Step.RUN | Step.REST:
                state = BackfillState.RUNNING if step is Step.RUN else BackfillState.PAUSED
                self._set_state(state)
                return Driven(self.backfill_id, step, f"it is {state}")
            case Step.HOLD if dagster_id is not None:
                return self._hold(dagster_id, runs)
            case Step.STOP if dagster_id is not None:
                return self._stop(dagster_id, runs)
            case Step.END:
                error = status.error if status is not None else ""
                return self._end(error, status.ended_at if status is not None else None)
        return None

    def _record_estimate(self, rest: int) -> None:
        """Keep an estimate of the end for each tenth of the way that work is seen in."""
        if self.row["state"] != BackfillState.RUNNING or self.row["wanted"] != Wanted.RUN:
            return
        partitions = self.row["partitions"]
        tenth = 10 * (partitions - rest) // partitions
        if rest and tenth not in self.row["estimated_tenths"]:
            record_estimate(self.conn, self.backfill_id, self.now)
            self.conn.commit()

    def _record_runs(self, dagster_id: str, runs: list[dg.DagsterRun], *, is_over: bool) -> None:
        """Runs of an adopted one do not carry its number, and may begin before it has one."""
        ids = (
            door.list_run_ids(self.instance, dagster_id)
            if is_over
            else [run.run_id for run in runs]
        )
        record_runs(self.conn, dagster_id, ids)
        self.conn.commit()

    def _unfinished_runs(self) -> list[dg.DagsterRun]:
        of_it = {BACKFILL_TAG: str(self.backfill_id)}
        if self.row["is_adopted"]:
            of_it = {DAGSTER_BACKFILL_TAG: self.row["dagster_backfill_id"]}
        wanted = dg.RunsFilter(tags=of_it, statuses=list(door.UNFINISHED_RUNS))
        return list(self.instance.get_runs(wanted))

    def _is_retry_lost(self, dagster_id: str | None) -> bool:
        """Whether a run of the segment waits for a start that does not come.

        Dagster closes a backfill whose runs are all done, and starts no killed run of a closed one
        again; now and then it looks between a run's end and the note that the run will be retried.
        How often a run of an adopted one is started again is up to Dagster alone.
        """
        if self.row["is_adopted"]:
            return False
        of_it = {BACKFILL_TAG: str(self.backfill_id), "dagster/will_retry": "true"}
        wanted = dg.RunsFilter(tags=of_it, statuses=[dg.DagsterRunStatus.FAILURE])
        lost = [
            run for run in self.instance.get_runs(wanted) if run.is_complete_and_waiting_to_retry
        ]
        is_newest = any(run.tags.get(DAGSTER_BACKFILL_TAG) == dagster_id for run in lost)
        return is_newest and len(lost) <= CRASH_RETRIES

    def _rest(self) -> list[str]:
        rows = self.conn.execute(read_query("read_backfill_rest"), (self.backfill_id,)).fetchall()
        self.conn.commit()
        return [str(row[0]) for row in rows]

    def _launch(self, keys: list[str]) -> Driven:
        dagster_id = self._begin_segment(len(keys))
        try:
            door.add_backfill(
                self.instance,
                self.graph,
                dagster_id,
                door.AssetPartitions(
                    self.row["asset_key"], keys, self._tags(), self._title(), self._config()
                ),
                self.now,
            )
        except BatchAssetsError as error:
            return self._end(str(error))
        self.conn.execute(
            "UPDATE ops.backfill_segments SET held_at = NULL WHERE dagster_backfill_id = %s",
            (dagster_id,),
        )
        self._set_state(BackfillState.RUNNING)
        return Driven(
            self.backfill_id, Step.LAUNCH, f"{len(keys)} partitions are with Dagster: {dagster_id}"
        )

    def _begin_segment(self, partitions: int) -> str:
        """Record the Dagster backfill that is about to be added.

        A driver that dies right after leaves one that Dagster does not know: it counts as over and
        as held, so that the next look launches its partitions again.
        """
        dagster_id = "".join(secrets.choice(string.ascii_lowercase) for _ in range(_ID_LENGTH))
        self.conn.execute(
            "INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions,"
            " held_at) VALUES (%s, %s, %s, clock_timestamp())",
            (dagster_id, self.backfill_id, partitions),
        )
        self.conn.commit()
        return dagster_id

    def _tags(self) -> dict[str, str]:
        return {
            BACKFILL_TAG: str(self.backfill_id),
            PRIORITY_TAG: str(self.row["priority"]),
            "batch_assets/feed": self.row["feed"],
            "dagster/max_retries": str(CRASH_RETRIES),
            # The range is started again as a whole; what is there is passed over.
            "dagster/retry_strategy": "ALL_STEPS",
        }

    def _title(self) -> str:
        again = f", retry of {self.row['retry_of']}" if self.row["retry_of"] else ""
        return (
            f"{self.row['feed']} {self.row['first_key']} to {self.row['last_key']} "
            f"(backfill {self.backfill_id}{again})"
        )

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {}
        if self.row["is_forced"]:
            config["force"] = True
        if self.row["symbols"]:
            config["symbols"] = list(self.row["symbols"])
        return config

    def _hold(self, dagster_id: str, runs: list[dg.DagsterRun]) -> Driven:
        """Take back what has not begun: runs in the queue, or all of it."""
        self.conn.execute(
            read_query("hold_backfill"), {"run_id": None, "backfill_id": self.backfill_id}
        )
        self.conn.commit()
        if self.row["is_shared"]:
            return Driven(self.backfill_id, Step.HOLD, f"{dagster_id} goes on with other assets")
        queued = self._clear_queue(runs)
        if not runs and door.cancel_backfill(self.instance, dagster_id):
            self.conn.execute(
                "UPDATE ops.backfill_segments SET end_status = %s"
                " WHERE dagster_backfill_id = %s AND backfill_id = %s",
                (_HELD, dagster_id, self.backfill_id),
            )
            self.conn.commit()
        return Driven(self.backfill_id, Step.HOLD, f"{queued} runs are out of the queue")

    def _stop(self, dagster_id: str, runs: list[dg.DagsterRun]) -> Driven | None:
        if door.cancel_backfill(self.instance, dagster_id):
            return Driven(self.backfill_id, Step.STOP, f"Dagster ends {dagster_id}")
        # What Dagster calls completed it does not end: days being loaded end by themselves.
        queued = self._clear_queue(runs) if self.row["is_adopted"] else 0
        if not queued:
            return None
        return Driven(self.backfill_id, Step.STOP, f"{queued} runs are out of the queue")

    def _clear_queue(self, runs: list[dg.DagsterRun]) -> int:
        queued = [run.run_id for run in runs if run.status is _QUEUED]
        for run_id in queued:
            self.instance.run_coordinator.cancel_run(run_id)
        return len(queued)

    def _end(self, problem: str, ended_at: datetime | None = None) -> Driven:
        """Close it.

        Args:
            problem: Why Dagster did not go on with it; empty if it did.
            ended_at: When Dagster was done with an adopted one, which may be long ago.
        """
        row = self.conn.execute(
            read_query("end_backfill"),
            {
                "backfill_id": self.backfill_id,
                "problem": problem,
                "ended_at": ended_at if self.row["is_adopted"] else None,
                "is_canceled": self.row["wanted"] == Wanted.CANCEL
                or self._is_canceled_in_dagster(),
            },
        ).fetchone()
        judge_estimates(self.conn, self.backfill_id)
        self.conn.commit()
        state = row[0] if row else "ended before"
        logger.info("backfill %s has ended: %s %s", self.backfill_id, state, problem)
        return Driven(self.backfill_id, Step.END, f"{state} {problem}".strip())

    def _is_canceled_in_dagster(self) -> bool:
        row = self.conn.execute(
            "SELECT end_status FROM ops.backfill_segments WHERE backfill_id = %s"
            " ORDER BY launched_at DESC LIMIT 1",
            (self.backfill_id,),
        ).fetchone()
        return row is not None and row[0] == DagsterState.CANCELED

    def _end_segment(self, dagster_id: str, status: door.SeenDagsterBackfill | None) -> None:
        self.conn.execute(
            "UPDATE ops.backfill_segments SET ended_at = clock_timestamp(),"
            " end_status = coalesce(end_status, %s) WHERE"
            " dagster_backfill_id = %s AND backfill_id = %s AND ended_at IS NULL",
            (status.status if status is not None else None, dagster_id, self.backfill_id),
        )
        self.conn.commit()

    def _set_state(self, state: BackfillState) -> None:
        self.conn.execute(
            "UPDATE ops.backfills SET state = %s,"
            " started_at = CASE WHEN %s = 'running' THEN coalesce(started_at, clock_timestamp())"
            " ELSE started_at END WHERE backfill_id = %s AND ended_at IS NULL",
            (state, state, self.backfill_id),
        )
        self.conn.commit()

    def _reorder(self, runs: list[dg.DagsterRun]) -> None:
        """Give runs that wait the priority that is wanted now."""
        if self.row["is_shared"]:
            return
        priority = self.row["priority"]
        for run in runs:
            is_waiting = run.status in (_QUEUED, dg.DagsterRunStatus.NOT_STARTED)
            if is_waiting and priority_of(run.tags) != priority:
                self.instance.add_run_tags(run.run_id, {PRIORITY_TAG: str(priority)})
