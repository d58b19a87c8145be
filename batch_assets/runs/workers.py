"""Which process answers for a run: recorded at launch, looked up by the repair.

Dagster's default launcher keeps no process id, and `dagster job execute` uses no launcher at all.
What both pass is the event log: event_log.py calls `record_worker` from there.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import StrEnum

import psycopg

from batch_assets.execution.process_identity import ProcessIdentity
from batch_assets.postgres.sql_files import read_query


class Stage(StrEnum):
    """What a process has to do with a run; later ones count more."""

    CREATED = "created"
    LAUNCHING = "launching"
    WORKING = "working"


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that answers for a run.

    Attributes:
        process: Who it is.
        stage: What it does for the run.
        age_seconds: Since it was recorded, by the database's clock.
    """

    process: ProcessIdentity
    stage: Stage
    age_seconds: float


def record_worker(
    conn: psycopg.Connection, run_id: str, stage: Stage, process: ProcessIdentity
) -> None:
    """Note that a process answers for a run from now on."""
    conn.execute(read_query("record_worker"), {"run_id": run_id, "stage": stage, **asdict(process)})


def read_workers(conn: psycopg.Connection, run_ids: Collection[str]) -> dict[str, Worker]:
    """The processes that answer for these runs, as far as they were recorded."""
    rows = conn.execute(
        "SELECT run_id, host, machine_id, boot_id, pid_namespace, pid, process_start, stage, "
        "extract(epoch FROM clock_timestamp() - recorded_at)::float8 "
        "FROM ops.run_workers WHERE run_id = ANY (%s)",
        (list(run_ids),),
    ).fetchall()
    return {row[0]: Worker(ProcessIdentity(*row[1:7]), Stage(row[7]), row[8]) for row in rows}
