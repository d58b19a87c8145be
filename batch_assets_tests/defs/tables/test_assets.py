"""Transfers from the configuration file alone: assets, jobs, checks, metadata, command line."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.operations.tracked_assets import tracked_assets
from batch_assets.defs.tables.metadata import plot_of
from batch_assets.ops.backfills.read import read_progress
from batch_assets.ops.cli.main import run
from batch_assets.runs.backfill_adoption import CodeLocation, adopt_backfills
from batch_assets.runs.backfill_driver import drive_backfills
from batch_assets.settings import load_settings
from batch_assets_tests.defs.market_files import (
    evaluations,
    failure_text,
    lines_of,
    materializations,
    verdict_of,
)
from batch_assets_tests.ingest.tables.transfers import Project
from batch_assets_tests.runs.launched_in_dagster import end_in_dagster, launch_in_dagster

CONFIGURATION = """
[tables.transfers.by_day]
source_url_env = "TEST_SOURCE_URL"
table = "public.orders"
target = "copies.by_day"
key = ["id"]
window_column = "day"

[tables.transfers.new_orders]
source_url_env = "TEST_SOURCE_URL"
table = "public.orders"
target = "copies.new_orders"
key = ["id"]
mode = "incremental"
incremental_column = "id"
min_batch_rows = 100
max_batch_rows = 400
schedule = "5 * * * *"
"""


@pytest.fixture
def project(quiet_postgres: str, postgres_empty: str, tmp_path: Path) -> Project:
    (tmp_path / "batch_assets.toml").write_text(CONFIGURATION)
    made = Project(source=postgres_empty, target=quiet_postgres)
    made.create_orders(900)
    return made


def definitions(project: Project, folder: Path) -> dg.Definitions:
    environment = {
        "BATCH_ASSETS_DATABASE_URL": project.target,
        "BATCH_ASSETS_HOME": str(folder / "state"),
        "TEST_SOURCE_URL": project.source,
    }
    settings = load_settings(environment, working_dir=folder)
    postgres = PostgresCopyResource(url=project.target, pool_min=1)
    return build_definitions(settings, resources={"postgres": postgres})


def execute(
    project: Project, folder: Path, job: str, tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        definition = definitions(project, folder).resolve_job_def(job)
        return definition.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def test_a_range_of_days_backfills_in_one_run(project: Project, tmp_path: Path) -> None:
    tags = {
        "dagster/asset_partition_range_start": "2024-09-30",
        "dagster/asset_partition_range_end": "2024-10-02",
    }

    result = execute(project, tmp_path, "table_transfer", tags)

    assert result.success, failure_text(result)
    days = materializations(result)
    assert sorted(days) == ["2024-09-30", "2024-10-01", "2024-10-02"]
    assert days["2024-10-01"].metadata["rows_inserted"].value == 300
    assert all(evaluation.passed for evaluation in evaluations(result))
    assert project.differences("copies.by_day") == 0
    lines = lines_of(tmp_path / "state", result.run_id)
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_ended")
    written = [line for line in lines if line["event"] == "partition"]
    assert [(line["partition"], line["i"], line["n"]) for line in written] == [
        (day, place, 3) for place, day in enumerate(sorted(days), 1)
    ]
    assert written[1]["message"].startswith("[2/3] 2024-10-01 success: 300 rows read")
    assert [line["load"] for line in written] == [
        days[line["partition"]].metadata["load_id"].value for line in written
    ]


def test_days_of_a_backfill_that_dagster_launched_are_counted(
    project: Project, tmp_path: Path
) -> None:
    made, now = definitions(project, tmp_path), datetime.now(UTC)
    days = ["2024-09-30", "2024-10-01", "2024-10-02"]
    repository = made.get_repository_def()
    settings = load_settings({}, working_dir=tmp_path)

    def connect() -> psycopg.Connection:
        return psycopg.connect(project.target)

    with dg.DagsterInstance.ephemeral() as instance:
        launch_in_dagster(instance, repository, "theirs", days, "tables/by_day", launched_at=now)
        tags = {
            "dagster/backfill": "theirs",
            "dagster/asset_partition_range_start": days[0],
            "dagster/asset_partition_range_end": days[-1],
        }
        job = made.resolve_job_def("table_transfer")
        assert job.execute_in_process(instance=instance, tags=tags).success
        end_in_dagster(instance, "theirs", "COMPLETED_SUCCESS")
        tracked = tracked_assets(settings)
        adopt_backfills(instance, CodeLocation(repository), tracked, connect, now=now)
        drive_backfills(instance, repository.asset_graph, connect, now=now)

    with connect() as conn:
        seen = read_progress(conn, 1, now)
    assert (seen.backfill.state, seen.success, seen.rows_inserted) == ("success", 3, 900)


def test_incremental_run_shows_the_course_of_its_chunks(project: Project, tmp_path: Path) -> None:
    result = execute(project, tmp_path, "table_transfer_new_orders")

    assert result.success, failure_text(result)
    [event] = [e for e in result.all_events if e.is_step_materialization]
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["rows_inserted"].value == 900
    assert "chunks of" in str(metadata["chunk_rows"].value)
    counts = verdict_of(result, "source_and_target_counts_reconcile")
    assert counts.passed
    assert counts.metadata["source_rows"].value == 900


def test_counts_that_differ_are_seen(project: Project, tmp_path: Path) -> None:
    execute(project, tmp_path, "table_transfer_new_orders")
    with project.connect() as conn:
        conn.execute("DELETE FROM copies.new_orders WHERE id <= 3")

    result = execute(project, tmp_path, "table_transfer_new_orders")

    counts = verdict_of(result, "source_and_target_counts_reconcile")
    assert not counts.passed
    assert "source 900, target 897" in str(counts.metadata["observed"].value)


def test_open_dead_letters_are_a_warning(project: Project, tmp_path: Path) -> None:
    execute(project, tmp_path, "table_transfer_new_orders")
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.new_orders ADD CONSTRAINT known CHECK (id <> 950)")
    project.add_orders(901, 1_100)

    result = execute(project, tmp_path, "table_transfer_new_orders")

    assert result.success, failure_text(result)
    letters = verdict_of(result, "no_open_dead_letters")
    assert not letters.passed
    assert letters.severity is dg.AssetCheckSeverity.WARN
    assert verdict_of(result, "source_and_target_counts_reconcile").passed


def test_a_source_that_cannot_be_reached_fails_the_run_with_its_name(
    project: Project, tmp_path: Path
) -> None:
    text = CONFIGURATION.replace("TEST_SOURCE_URL", "NOT_SET_ANYWHERE")
    (tmp_path / "batch_assets.toml").write_text(text)

    result = execute(project, tmp_path, "table_transfer_new_orders")

    assert not result.success
    assert "NOT_SET_ANYWHERE is not set" in failure_text(result)


def test_transfers_have_a_pool_of_their_source_and_a_schedule(
    project: Project, tmp_path: Path
) -> None:
    defs = definitions(project, tmp_path)

    asset = defs.resolve_asset_graph().get(dg.AssetKey(["tables", "new_orders"]))
    schedule = defs.resolve_schedule_def("table_transfer_new_orders_schedule")

    assert asset.pools == {"source_test_source_url"}
    assert schedule.cron_schedule == "5 * * * *"


def test_command_line_checks_and_runs(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", project.target)
    monkeypatch.setenv("TEST_SOURCE_URL", project.source)

    listed = run(["tables", "list", "--json"])
    names = [item["name"] for item in json.loads(capsys.readouterr().out)]
    before = run(["tables", "check", "new_orders", "--json"])
    [first] = json.loads(capsys.readouterr().out)
    left_behind = project.query("SELECT to_regnamespace('copies')")
    status = run(["tables", "run", "new_orders", "--json"])
    report = json.loads(capsys.readouterr().out)
    checked = run(["tables", "check", "new_orders", "--json"])
    [then] = json.loads(capsys.readouterr().out)
    without_days = run(["tables", "run", "by_day"])

    assert (listed, names) == (0, ["by_day", "new_orders"])
    assert (before, first["problem"], first["rows"]) == (0, "", 900)
    assert first["note"].startswith(
        "copies.new_orders does not exist; the first run creates it: id bigint, day date, "
        "customer character varying(20), amount numeric(20,6)"
    )
    assert first["note"].endswith("load_id bigint; primary key (id)")
    assert left_behind == [(None,)]
    assert status == 0
    assert (report["state"], report["inserted"]) == ("success", 900)
    assert (checked, then["problem"], then["note"]) == (0, "", "")
    assert without_days == 7


def test_a_check_says_why_an_absent_target_would_not_be_created(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused = CONFIGURATION + "create_target = false\n"
    project.change_source("ALTER TABLE orders ADD COLUMN note json")
    (tmp_path / "batch_assets.toml").write_text(refused)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", project.target)
    monkeypatch.setenv("TEST_SOURCE_URL", project.source)

    status = run(["tables", "check", "--json"])
    by_day, new_orders = json.loads(capsys.readouterr().out)

    assert status == 1
    assert "use jsonb for json" in by_day["problem"]
    assert "not created because create_target = false" in new_orders["problem"]
    assert project.query("SELECT to_regnamespace('copies')") == [(None,)]


def test_dead_letters_of_a_transfer_are_listed_with_what_to_do_and_replayed_by_command(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", project.target)
    monkeypatch.setenv("TEST_SOURCE_URL", project.source)
    run(["tables", "run", "new_orders"])
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.new_orders ADD CONSTRAINT known CHECK (id <> 950)")
    project.add_orders(901, 1_100)
    run(["tables", "run", "new_orders"])
    capsys.readouterr()

    listed = run(["dead-letters", "list"])
    advice = capsys.readouterr().err
    still_wrong = run(["dead-letters", "replay", "--target", "copies.new_orders"])
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.new_orders DROP CONSTRAINT known")
    replayed = run(["dead-letters", "replay", "--target", "copies"])
    said = capsys.readouterr()

    assert listed == still_wrong == 1
    assert "dead-letters replay --target copies.new_orders" in advice
    assert replayed == 0
    assert "1 inserted" in said.out
    assert "0 dead letters of copies are open" in said.err
    assert project.differences("copies.new_orders") == 0


def test_a_long_course_is_thinned_out_and_keeps_its_ends() -> None:
    course = [500, *range(1_000, 2_000), 100_000]

    plot = plot_of(course, {"seconds": 2, "memory": 1})

    bars = plot.split("`")[1]
    assert len(bars) <= 121
    assert (bars[0], bars[-1]) == ("▁", "█")
    assert "1002 chunks of 500 to 100,000 rows" in plot
    assert "halved 2 times for their time, waits for locks included, 1 times for memory" in plot
