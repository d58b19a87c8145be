"""Dagster's event log, which also notes who works on a run.

Every run passes here, however it was started, and the process that executes it passes first of
all: with "Started process for run" under a launcher, with the start of the run itself under
`dagster job execute`. At that moment no step has asked for a pool slot yet, so it is also the
moment to give back what dead runs hold: a slot that nobody will free never blocks a new run.
"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime

import dagster as dg
import psycopg
from dagster_postgres import PostgresEventLogStorage

from batch_assets.errors import BatchAssetsError
from batch_assets.execution.process_identity import this_process
from batch_assets.postgres.connect import translating_errors
from batch_assets.runs.kept_connections import check_before_use
from batch_assets.runs.repair import repair_runs
from batch_assets.runs.workers import Stage, record_worker

logger = logging.getLogger(__name__)

# A connection older than this is replaced before it is used: bursts of events share one. What was
# cut before that, by a restart of the server, is noticed when it is asked (kept_connections.py).
KEPT_SECONDS = 30
# Threads of a daemon that write at the same moment; opened when needed and not kept.
SPARE_CONNECTIONS = 20
STATEMENT_TIMEOUT_MILLISECONDS = 3_600_000


class WorkerRecordingEventLog(PostgresEventLogStorage):
    """dagster-postgres' event log; what it adds never fails an event."""

    def __init__(self, postgres_url: str, connect: Callable[[], psycopg.Connection]) -> None:
        """Open the log.

        Args:
            postgres_url: SQLAlchemy URL of Dagster's tables.
            connect: Opens a connection to the database of our own tables; closed here.
        """
        super().__init__(postgres_url)
        # Dagster opens a connection for each statement, four for a materialisation, and that is
        # half of what a day of a range run costs. Its own switch for the webserver keeps one.
        self.optimize_for_webserver(
            statement_timeout=STATEMENT_TIMEOUT_MILLISECONDS,
            pool_recycle=KEPT_SECONDS,
            max_overflow=SPARE_CONNECTIONS,
        )
        self._connect_ours = connect
        # The newest run this process has noted, so that it does so once for each stage.
        self._noted: tuple[str, Stage] | None = None

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Keep a connection open, and check it before it is used."""
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
        check_before_use(self._engine)

    def dispose(self) -> None:
        """Close the connection that is kept."""
        super().dispose()
        self._engine.dispose()

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event, then note the worker if it says who that is."""
        super().store_event(event)
        self._note(event)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run."""
        super().store_event_batch(events)
        for event in events[:1]:
            self._note(event)

    def _note(self, event: dg.EventLogEntry) -> None:
        stage = stage_of(event)
        if stage is None or self._noted == (event.run_id, stage):
            return
        try:
            with closing(self._connect_ours()) as conn, translating_errors():
                record_worker(conn, event.run_id, stage, this_process())
                conn.commit()
            self._noted = (event.run_id, stage)
            if stage is Stage.WORKING and self.has_instance:
                repair_runs(self._instance, self._connect_ours, now=datetime.now(UTC))
        except psycopg.errors.UndefinedTable:
            # A database that is only Dagster's; assets of ours say what to do about it.
            logger.debug("workers are not recorded: the database has no table ops.run_workers")
        except (BatchAssetsError, psycopg.Error, dg.DagsterError):
            # The run can do without; the sensor `repair_dead_runs` tries again.
            logger.warning("the worker of the run was not recorded", exc_info=True)


def stage_of(event: dg.EventLogEntry) -> Stage | None:
    """What the process that stores this event has to do with the run; None if it does not say."""
    if not event.is_dagster_event or event.dagster_event is None:
        return None
    kind = event.dagster_event.event_type
    if kind is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
        return Stage.CREATED
    if kind is dg.DagsterEventType.RUN_STARTING:
        return Stage.LAUNCHING
    if kind is dg.DagsterEventType.RUN_START or _introduces_this_process(event.dagster_event):
        return Stage.WORKING
    return None


def _introduces_this_process(event: dg.DagsterEvent) -> bool:
    if event.event_type is not dg.DagsterEventType.ENGINE_EVENT or event.step_key is not None:
        return False
    # Steps in processes of their own introduce themselves too, but with their step's key.
    pid = event.engine_event_data.metadata.get("pid")
    return pid is not None and pid.value == str(os.getpid())
