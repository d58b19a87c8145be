"""A database with Dagster's storage in it, runs and leases planted in it, and their repair."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.execution.process_identity import ProcessIdentity
from batch_assets.loading.leases import acquire_leases
from batch_assets.ops.dagster_home import write_instance_file
from batch_assets.runs.repair import Repaired, repair_runs
from batch_assets.runs.workers import Stage, record_worker
from batch_assets.settings import load_settings

POOL = "one_slot"


@dg.op
def nothing() -> None:
    pass


@dg.job(executor_def=dg.in_process_executor)
def idle() -> None:
    nothing()


class Site:
    """A database with Dagster's storage in it, and what a test plants there."""

    def __init__(self, url: str, instance: dg.DagsterInstance) -> None:
        self.url = url
        self.instance = instance

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url)

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def plant_run(
        self,
        process: ProcessIdentity | None,
        *,
        status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
        stage: Stage = Stage.WORKING,
    ) -> str:
        run_id = self.instance.create_run_for_job(idle, status=status).run_id
        if process is not None:
            with closing(self.connect()) as conn:
                record_worker(conn, run_id, stage, process)
                conn.commit()
        return run_id

    def plant_lease(
        self, resource: str, process: ProcessIdentity, run_id: str | None, *, seconds: float = 30
    ) -> psycopg.Connection:
        """A lease and its running load; the connection is the holder's backend."""
        conn = self.connect()
        holder = f"{process.host}:{process.pid}" + (f" run {run_id}" if run_id else "")
        tokens = acquire_leases(
            conn, [resource], holder=_Named(holder), lease_seconds=seconds  # type: ignore[arg-type]
        )  # fmt: skip
        # reason: only the name of a holder is stored, and here it is somebody else's
        conn.execute(
            "INSERT INTO ops.loads (target, window_key, resource, lease_token, run_id) "
            "VALUES ('t', 'k', %s, %s, %s)",
            (resource, tokens[resource], run_id),
        )
        conn.commit()
        return conn

    def claim_slot(self, run_id: str) -> bool:
        events = self.instance.event_log_storage
        events.set_concurrency_slots(POOL, 1)
        return events.claim_concurrency_slot(POOL, run_id, "nothing").is_claimed

    def repair(self, *, dry_run: bool = False) -> list[Repaired]:
        return repair_runs(self.instance, self.connect, now=datetime.now(UTC), dry_run=dry_run)

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def ends(self, run_id: str) -> list[str]:
        """Messages of the events that say that the run has failed or was canceled."""
        kinds = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
        return [entry.message for entry in self.instance.all_logs(run_id, of_type=kinds)]

    def leases(self) -> list[str]:
        return [str(row[0]) for row in self.execute("SELECT resource FROM ops.leases ORDER BY 1")]

    def loads(self) -> list[tuple[object, ...]]:
        return self.execute(
            "SELECT resource, state, reason, is_retryable FROM ops.loads ORDER BY 1"
        )


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def opened_storage(url: str, folder: Path, patch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    patch.setenv("BATCH_ASSETS_DATABASE_URL", url)
    patch.setenv("BATCH_ASSETS_HOME", str(folder / "state"))
    return dg.DagsterInstance.from_config(str(write_instance_file(load_settings())))
