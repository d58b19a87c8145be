"""Repair: end runs whose process is gone, and give back what they held (promise P6).

A process that is killed reports nothing. Dagster then keeps its run STARTED and its pool slots
taken, for ever where nobody looks. Here somebody looks, each time something starts:

* every run, before its first step asks for a pool slot (event_log.py);
* the sensor `repair_dead_runs` of a daemon, every 15 seconds;
* the start of `batch-assets up`, and a person, with `batch-assets runs repair`.

What is looked at is the process that answers for a run (workers.py); what is decided is in
diagnosis.py; leases and loads are given back by loading/abandoned.py. What cannot be seen from
this host is judged by the age of its leases alone. Processes outside of Dagster: lost_leases.py.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
import psycopg

from batch_assets.errors import MigrationError
from batch_assets.execution.process_identity import Life, evaluate_life
from batch_assets.loading.abandoned import Hold, end_holds, read_holds, read_running_run_ids
from batch_assets.postgres.connect import connect, database_url, translating_errors
from batch_assets.runs.diagnosis import (
    ACTIVE_STATUSES,
    Action,
    Diagnosis,
    SeenRun,
    evaluate_run,
)
from batch_assets.runs.instance import opened_instance
from batch_assets.runs.lost_leases import (
    DONE,
    SILENT_SECONDS,
    end_lost_lease,
    find_lost_leases,
    seen_of,
)
from batch_assets.runs.workers import Stage, Worker, read_workers
from batch_assets.settings import Settings

logger = logging.getLogger(__name__)

Connector = Callable[[], psycopg.Connection]

# One repair at a time in a database: two would report the end of one run twice.
_REPAIR_LOCK = 0x6261_7265_7061

# A pass ends within a sensor's time; what is left is found by the next one.
_REPAIRS_PER_PASS = 100


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was done, or would be done, about one run or one process outside of Dagster.

    Attributes:
        run_id: None for a process that held leases without a run.
        job_name: Of the run; empty if there is none.
        action: `fail`, `cancel` or `release`.
        seen: What says that it is needed.
        message: What was seen, what was done, what to do next.
        ended_leases: Leases ended.
        closed_loads: Loads closed as failed with reason `holder_died`.
    """

    run_id: str | None
    job_name: str
    action: Action
    seen: str
    message: str
    ended_leases: int = 0
    closed_loads: int = 0


@dataclass(frozen=True, slots=True)
class _Finding:
    run: SeenRun
    diagnosis: Diagnosis


def repair_runs(
    instance: dg.DagsterInstance, connector: Connector, *, now: datetime, dry_run: bool = False
) -> list[Repaired]:
    """End every run whose process is gone and free what it held; touch nothing that lives.

    Each run is repaired in a transaction of its own, its status last: a repair that dies is
    begun again by the next one. Costs three short queries when there is nothing to repair.

    Args:
        instance: Whose runs.
        connector: Opens a connection to the database of leases and loads.
        now: The present, aware.
        dry_run: Only say what would be done.

    Raises:
        DatabaseUnavailable: The database does not answer; what was repaired stays so.
        MigrationError: The database has no tables of ours.
    """
    with closing(connector()) as conn, translating_errors(), _expecting_tables():
        found = _find(instance, conn, now)
        lost = find_lost_leases(conn)
        conn.commit()
        if not (found or lost):
            return []
        if dry_run:
            return [_planned(item) for item in found] + [_planned_hold(hold) for hold in lost]
        conn.execute("SELECT pg_advisory_lock(%s)", [_REPAIR_LOCK])
        # What was dead is still dead, but it may have reported its end just before, or another
        # repair may have done it all: whoever is gone says nothing new from here on.
        again = {item.run.run_id for item in found}
        found = _find(instance, conn, now, only=again)
        done = [_repair(instance, conn, item) for item in found[:_REPAIRS_PER_PASS]]
        return done + [_end_lost(conn, hold) for hold in find_lost_leases(conn)]


def repair_home(home: Path, settings: Settings, *, dry_run: bool = False) -> list[Repaired]:
    """`repair_runs` for the Dagster instance of a folder; raises as `opened_instance`."""
    url = database_url(settings)
    with opened_instance(home) as instance:
        return repair_runs(
            instance,
            lambda: connect(url, application_name="batch_assets repair", options=settings.database),
            now=datetime.now(UTC),
            dry_run=dry_run,
        )


@contextmanager
def _expecting_tables() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise MigrationError(
            f"runs cannot be repaired: {error.diag.message_primary}; expected a migrated database; "
            "run `batch-assets db migrate`"
        ) from error


def _find(
    instance: dg.DagsterInstance,
    conn: psycopg.Connection,
    now: datetime,
    *,
    only: Collection[str] | None = None,
) -> list[_Finding]:
    timeout = float(instance.run_monitoring_start_timeout_seconds)
    findings = [
        _Finding(run, evaluate_run(run, start_timeout_seconds=timeout))
        for run in _look_at_runs(instance, conn, now)
        if only is None or run.run_id in only
    ]
    return [item for item in findings if item.diagnosis.action is not Action.NONE]


def _look_at_runs(
    instance: dg.DagsterInstance, conn: psycopg.Connection, now: datetime
) -> list[SeenRun]:
    """Every run that Dagster believes to be worked on, or that holds something."""
    holds = read_holds(conn, grace_seconds=SILENT_SECONDS)
    loading = read_running_run_ids(conn)
    slots = set(instance.event_log_storage.get_concurrency_run_ids())
    active = instance.get_run_records(dg.RunsFilter(statuses=list(ACTIVE_STATUSES)))
    records = {record.dagster_run.run_id: record for record in active}
    suspects = slots | loading | {hold.run_id for hold in holds if hold.run_id is not None}
    if unknown := suspects - set(records):
        others = instance.get_run_records(dg.RunsFilter(run_ids=sorted(unknown)))
        records |= {record.dagster_run.run_id: record for record in others}
    workers = read_workers(conn, suspects | set(records))
    # A process is looked at before its run is read again under the lock; see repair_runs.
    return [
        _as_seen(
            run_id,
            records.get(run_id),
            workers.get(run_id),
            now,
            holds=tuple(hold for hold in holds if hold.run_id == run_id),
            has_slots=run_id in slots,
            has_loads=run_id in loading,
        )
        for run_id in sorted(suspects | set(records))
    ]


def _as_seen(
    run_id: str,
    record: dg.RunRecord | None,
    worker: Worker | None,
    now: datetime,
    *,
    holds: tuple[Hold, ...],
    has_slots: bool,
    has_loads: bool,
) -> SeenRun:
    run = record.dagster_run if record is not None else None
    age = (now - record.update_timestamp).total_seconds() if record is not None else math.inf
    return SeenRun(
        run_id=run_id,
        job_name=run.job_name if run is not None else "",
        status=run.status if run is not None else None,
        age_seconds=age,
        is_remote=run is not None and run.remote_job_origin is not None,
        worker=worker,
        life=evaluate_life(worker.process) if worker is not None else Life.UNKNOWN,
        holds=holds,
        has_slots=has_slots,
        has_loads=has_loads,
    )


def _repair(instance: dg.DagsterInstance, conn: psycopg.Connection, item: _Finding) -> Repaired:
    run = item.run
    message = _message(item)
    leases, loads = _end_holds(conn, run, message)
    conn.commit()
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    dagster_run = instance.get_run_by_id(run.run_id)
    if dagster_run is not None and item.diagnosis.action is Action.CANCEL:
        instance.report_run_canceled(dagster_run, message)
    elif dagster_run is not None and item.diagnosis.action is Action.FAIL:
        instance.report_run_failed(dagster_run, message)
    logger.warning("repaired run %s of job %s: %s", run.run_id, run.job_name, item.diagnosis.seen)
    return replace(_planned(item), ended_leases=leases, closed_loads=loads)


def _end_holds(conn: psycopg.Connection, run: SeenRun, message: str) -> tuple[int, int]:
    is_dead = run.stage is Stage.WORKING and run.life is Life.DEAD
    gone = [hold for hold in run.holds if (not _may_live(hold, run) if is_dead else hold.is_silent)]
    return end_holds(conn, gone, run_id=run.run_id, is_dead=is_dead, message=message)


def _may_live(hold: Hold, run: SeenRun) -> bool:
    """Whether a lease of a dead run may be one of a step that outlived it in its own process."""
    if run.worker is None:
        return True
    process = run.worker.process
    if hold.host != process.host:
        return True
    return hold.pid != process.pid and psutil.pid_exists(hold.pid)


def _end_lost(conn: psycopg.Connection, hold: Hold) -> Repaired:
    planned = _planned_hold(hold)
    leases, loads = end_lost_lease(conn, hold)
    return replace(planned, ended_leases=leases, closed_loads=loads)


def _planned(item: _Finding) -> Repaired:
    run, diagnosis = item.run, item.diagnosis
    return Repaired(run.run_id, run.job_name, diagnosis.action, diagnosis.seen, _message(item))


def _planned_hold(hold: Hold) -> Repaired:
    seen = seen_of(hold)
    return Repaired(None, "", Action.RELEASE, seen, f"{seen}; {DONE}")


def _message(item: _Finding) -> str:
    seen = item.diagnosis.seen
    freed = "Its pool slots and leases are free, and nothing half-written was published."
    match item.diagnosis.action:
        case Action.FAIL:
            return (
                f"The run is ended: {seen}; expected its process to live until the run ends. "
                f"{freed} Look for what killed it (memory, a restart), then launch the same "
                "partitions again: what was committed is recognised."
            )
        case Action.CANCEL:
            return f"The run is canceled as asked: {seen}. {freed}"
        case _:
            return f"The run is over: {seen}; they are free now."
