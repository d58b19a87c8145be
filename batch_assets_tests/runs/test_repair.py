"""Runs whose process has died are ended, and what they held is free; all others keep everything."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.errors import MigrationError
from batch_assets.execution.process_identity import ProcessIdentity, this_process
from batch_assets.postgres.migrate import apply_pending
from batch_assets.runs.diagnosis import Action
from batch_assets.runs.event_log import stage_of
from batch_assets.runs.repair import Repaired, repair_runs
from batch_assets.runs.workers import Stage, read_workers, record_worker
from batch_assets.settings import load_settings
from batch_assets_tests.conftest import PostgresServer, database_name
from batch_assets_tests.polling import wait_until
from batch_assets_tests.runs.repair_site import Site, idle, opened_storage


@pytest.fixture(scope="module")
def _dagster_template(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with our tables and Dagster's: creating the latter costs 2 s, cloning 0.1 s."""
    url = postgres_server.create_database()
    apply_pending(url)
    with pytest.MonkeyPatch.context() as patch:
        opened_storage(url, tmp_path_factory.mktemp("template"), patch).dispose()
    yield database_name(url)
    postgres_server.drop_database(url)


@pytest.fixture
def site(
    postgres_server: PostgresServer,
    _dagster_template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    url = postgres_server.create_database(_dagster_template)
    with opened_storage(url, tmp_path, monkeypatch) as instance:
        yield Site(url, instance)
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def dead() -> ProcessIdentity:
    """A process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(this_process(), pid=process.pid, process_start="1")


@pytest.fixture
def elsewhere() -> ProcessIdentity:
    return replace(this_process(), host="elsewhere", boot_id="another")


def test_run_of_a_dead_process_is_ended_and_all_it_held_is_free(
    site: Site, dead: ProcessIdentity
) -> None:
    run_id = site.plant_run(dead)
    assert site.claim_slot(run_id)
    site.plant_lease("t/k", dead, run_id).close()

    (repaired,) = site.repair()

    assert (repaired.run_id, repaired.action) == (run_id, Action.FAIL)
    assert (repaired.ended_leases, repaired.closed_loads) == (1, 1)
    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE
    (message,) = site.ends(run_id)
    assert f"process {dead.pid} on host {dead.host} worked on it and is gone" in message
    assert "launch the same partitions again" in message
    assert site.leases() == []
    assert site.loads() == [("t/k", "failed", "holder_died", True)]
    assert site.claim_slot(site.plant_run(this_process()))
    assert site.repair() == []


def test_run_of_a_living_process_keeps_everything(site: Site) -> None:
    run_id = site.plant_run(this_process())
    site.claim_slot(run_id)
    site.plant_lease("t/k", this_process(), run_id, seconds=-3600).close()

    assert site.repair() == []

    assert site.status(run_id) is dg.DagsterRunStatus.STARTED
    assert site.leases() == ["t/k"]
    assert not site.claim_slot(site.plant_run(this_process()))


def test_process_that_got_the_id_of_a_dead_one_does_not_keep_its_run(site: Site) -> None:
    run_id = site.plant_run(replace(this_process(), process_start="1"))

    site.repair()

    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE


def test_run_that_was_being_canceled_is_canceled(site: Site, dead: ProcessIdentity) -> None:
    run_id = site.plant_run(dead, status=dg.DagsterRunStatus.CANCELING)

    site.repair()

    assert site.status(run_id) is dg.DagsterRunStatus.CANCELED


def test_process_elsewhere_is_believed_until_its_leases_have_run_out(
    site: Site, elsewhere: ProcessIdentity
) -> None:
    silent = site.plant_run(elsewhere)
    site.plant_lease("t/silent", elsewhere, silent, seconds=-3600).close()
    late = site.plant_run(elsewhere)
    site.plant_lease("t/late", elsewhere, late, seconds=-1).close()
    without = site.plant_run(elsewhere)

    site.repair()

    assert site.status(silent) is dg.DagsterRunStatus.FAILURE
    assert site.status(late) is dg.DagsterRunStatus.STARTED
    assert site.status(without) is dg.DagsterRunStatus.STARTED
    assert site.leases() == ["t/late"]


def test_ended_run_gives_back_what_its_dead_process_held(site: Site, dead: ProcessIdentity) -> None:
    run_id = site.plant_run(dead, status=dg.DagsterRunStatus.FAILURE)
    site.claim_slot(run_id)
    site.plant_lease("t/k", dead, run_id).close()

    (repaired,) = site.repair()

    assert repaired.action is Action.RELEASE
    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE
    assert site.ends(run_id) == []
    assert site.leases() == []
    assert site.claim_slot(site.plant_run(this_process()))


def test_deleted_run_gives_back_what_it_held(site: Site, elsewhere: ProcessIdentity) -> None:
    run_id = site.plant_run(elsewhere)
    site.plant_lease("t/k", elsewhere, run_id, seconds=-3600).close()
    site.instance.delete_run(run_id)

    site.repair()

    assert site.leases() == []
    assert site.loads() == [("t/k", "failed", "holder_died", True)]


def test_backend_of_a_dead_holder_is_ended_first(site: Site, dead: ProcessIdentity) -> None:
    run_id = site.plant_run(dead)
    with site.plant_lease("t/k", dead, run_id) as orphan:
        orphan.execute("SELECT FROM ops.leases FOR UPDATE")

        (repaired,) = site.repair()

        assert repaired.ended_leases == 1
        with pytest.raises(psycopg.errors.AdminShutdown):
            orphan.execute("SELECT 1")


def test_lease_of_a_step_that_outlived_its_run_is_left_to_it(
    site: Site, dead: ProcessIdentity
) -> None:
    run_id = site.plant_run(dead)
    site.plant_lease("t/step", this_process(), run_id).close()
    site.plant_lease("t/worker", dead, run_id).close()

    site.repair()

    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE
    assert site.leases() == ["t/step"]
    assert [row[1] for row in site.loads()] == ["running", "failed"]


def test_lease_outside_of_dagster_is_ended_when_it_ran_out_long_ago(
    site: Site, dead: ProcessIdentity, elsewhere: ProcessIdentity
) -> None:
    site.plant_lease("t/fresh", elsewhere, None).close()
    site.plant_lease("t/mine", this_process(), None, seconds=-3600).close()
    site.plant_lease("t/old", dead, None, seconds=-3600).close()

    (repaired,) = site.repair()

    assert repaired.run_id is None
    assert site.leases() == ["t/fresh", "t/mine"]
    assert [row[1] for row in site.loads()] == ["running", "running", "failed"]


def test_lease_outside_of_dagster_is_ended_at_once_when_its_process_was_here_and_is_gone(
    site: Site, dead: ProcessIdentity, elsewhere: ProcessIdentity
) -> None:
    with closing(site.plant_lease("t/backend-lives", dead, None)):
        site.plant_lease("t/elsewhere", elsewhere, None).close()
        site.plant_lease("t/gone", dead, None).close()
        site.plant_lease("t/mine", this_process(), None).close()
        done: list[Repaired] = []
        # The backend of a closed connection is gone a moment later.
        wait_until(lambda: done.extend(site.repair()) or bool(done), "the lease is ended", 60)

        (repaired,) = done
        assert f"process {dead.pid} on host {dead.host}" in repaired.message
        assert (repaired.ended_leases, repaired.closed_loads) == (1, 1)
        assert site.leases() == ["t/backend-lives", "t/elsewhere", "t/mine"]
        assert site.loads()[2] == ("t/gone", "failed", "holder_died", True)


def test_dry_run_says_the_same_and_changes_nothing(site: Site, dead: ProcessIdentity) -> None:
    run_id = site.plant_run(dead)
    site.plant_lease("t/k", dead, run_id).close()
    site.plant_lease("t/old", dead, None, seconds=-3600).close()

    planned = site.repair(dry_run=True)

    assert site.status(run_id) is dg.DagsterRunStatus.STARTED
    assert site.leases() == ["t/k", "t/old"]
    assert [(item.run_id, item.message) for item in planned] == [
        (item.run_id, item.message) for item in site.repair()
    ]


def test_repairs_at_the_same_time_end_a_run_once(site: Site, dead: ProcessIdentity) -> None:
    run_ids = [site.plant_run(dead) for _ in range(3)]
    done: list[Repaired] = []
    together = threading.Barrier(4)

    def repair() -> None:
        together.wait()
        done.extend(site.repair())

    threads = [threading.Thread(target=repair) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(str(item.run_id) for item in done) == sorted(run_ids)
    assert [len(site.ends(run_id)) for run_id in run_ids] == [1, 1, 1]


def test_run_that_ends_by_itself_while_it_is_looked_at_stays_what_it_is(
    site: Site, dead: ProcessIdentity
) -> None:
    run_id = site.plant_run(dead)
    opened = 0

    def connect_late() -> psycopg.Connection:
        nonlocal opened
        opened += 1
        return _Interrupting(site.url, lambda: succeed(site, run_id)).connect()

    assert repair_runs(site.instance, connect_late, now=datetime.now(UTC)) == []

    assert opened == 1
    assert site.status(run_id) is dg.DagsterRunStatus.SUCCESS


class _Interrupting:
    """A connection during whose wait for the repair's turn something happens."""

    def __init__(self, url: str, happens: Callable[[], None]) -> None:
        class Connection(psycopg.Connection):  # type: ignore[type-arg]
            def execute(self, query: object, *arguments: object, **more: object) -> object:  # type: ignore[override]
                if "pg_advisory_lock" in str(query):
                    happens()
                return super().execute(query, *arguments, **more)  # type: ignore[arg-type]

        self.connect = lambda: Connection.connect(url)


def succeed(site: Site, run_id: str) -> None:
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name)
    site.instance.report_dagster_event(event, run_id)


def test_run_notes_the_process_that_executes_it(site: Site) -> None:
    result = idle.execute_in_process(instance=site.instance)

    with closing(site.connect()) as conn:
        (worker,) = read_workers(conn, [result.run_id]).values()
    assert (worker.stage, worker.process) == (Stage.WORKING, this_process())


def test_start_of_a_run_repairs_others_before_its_steps(site: Site, dead: ProcessIdentity) -> None:
    run_id = site.plant_run(dead)

    idle.execute_in_process(instance=site.instance)

    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE


def test_launcher_that_writes_late_does_not_replace_the_worker(site: Site) -> None:
    run_id = site.plant_run(this_process())

    with closing(site.connect()) as conn:
        record_worker(conn, run_id, Stage.LAUNCHING, replace(this_process(), pid=1))
        (worker,) = read_workers(conn, [run_id]).values()

    assert (worker.stage, worker.process.pid) == (Stage.WORKING, os.getpid())


def test_event_of_somebody_else_introduces_nobody(site: Site) -> None:
    run_id = site.plant_run(None)
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    site.instance.report_engine_event("something happened", run)

    stages = {stage_of(entry) for entry in site.instance.all_logs(run_id)}

    assert stages == {None}


def test_database_that_is_only_dagsters_executes_runs_all_the_same(
    postgres_empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_storage(postgres_empty, tmp_path, monkeypatch) as instance:
        assert idle.execute_in_process(instance=instance).success
        with pytest.raises(MigrationError, match="run `batch-assets db migrate`"):
            repair_runs(instance, lambda: psycopg.connect(postgres_empty), now=datetime.now(UTC))


def test_sensor_runs_by_itself_and_says_what_it_did(site: Site, dead: ProcessIdentity) -> None:
    sensor = build_definitions(load_settings()).resolve_sensor_def("repair_dead_runs")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    run_id = site.plant_run(dead)
    resources = {"postgres": PostgresCopyResource(url=site.url)}

    with dg.build_sensor_context(instance=site.instance, resources=resources) as context:
        first, second = sensor(context), sensor(context)

    assert isinstance(first, dg.SkipReason)
    assert isinstance(second, dg.SkipReason)
    assert run_id in str(first.skip_message)
    assert str(second.skip_message).startswith("Nothing to repair")
    assert site.status(run_id) is dg.DagsterRunStatus.FAILURE
