"""Spreadsheets in Dagster: from the landing folder to the table, and corrections from the inbox."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import psycopg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.settings import Settings, load_settings
from batch_assets_tests.defs.market_files import lines_of
from batch_assets_tests.ingest.spreadsheets.loop import edit

DAY, EMPTY_DAY = "2024-09-30", "2024-10-01"
SECTION = """
[execution]
cpu_workers = 1
spare_workers = 0
[spreadsheets]
landing = "landing"
inbox = "inbox"
[spreadsheets.templates.orders]
files = "orders*.xlsx"
table = "sales.orders"
key = "order_no"
reject_limit_ratio = 0.5
[spreadsheets.templates.orders.columns]
order_no = { header = "Order no", type = "integer", required = true }
amount = { header = "Amount", type = "decimal(12,2)" }
"""


@dataclass
class Project:
    folder: Path
    url: str
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @property
    def settings(self) -> Settings:
        (self.folder / "batch_assets.toml").write_text(SECTION)
        environment = {
            "BATCH_ASSETS_DATABASE_URL": self.url,
            "BATCH_ASSETS_HOME": str(self.folder / "state"),
        }
        return load_settings(environment, working_dir=self.folder)

    def resources(self) -> dict[str, object]:
        return {
            "postgres": PostgresCopyResource(url=self.url, pool_min=1),
            "clock": ClockResource(fixed_at="2024-10-02T12:00:00+00:00"),
        }

    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings, resources=self.resources())

    def drop(self, name: str, *rows: list[Any], day: str = DAY) -> Path:
        book = openpyxl.Workbook()
        for row in (["Order no", "Amount"], *rows):
            book.active.append(row)
        path = self.folder / "landing" / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        book.save(path)
        os.utime(path, (1_727_700_000, 1_727_700_000))
        return path

    def run(self, job: str = "spreadsheet_load", **target: Any) -> dg.ExecuteInProcessResult:
        definition = self.definitions().resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, raise_on_error=False, **target)

    def tick(self) -> dg.SensorResult:
        sensor = self.definitions().resolve_sensor_def("spreadsheet_sensor")
        with dg.build_sensor_context(instance=self.instance, resources=self.resources()) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as conn:
            return conn.execute(statement).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def project(postgres: str, tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path, postgres)
    (tmp_path / "landing").mkdir()
    with made.instance:
        yield made


def materializations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetMaterialization]:
    found = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization
    ]
    return {str(item.partition): item for item in found}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {item.check_name: item.passed for item in result.get_asset_check_evaluations()}


def test_day_is_loaded_checked_and_links_its_error_workbook(project: Project) -> None:
    project.drop("orders.xlsx", [1, 5], [2, "x"])

    result = project.run(partition_key=DAY)

    assert result.success
    assert checks(result) == {
        "ledger_balances": True,
        "error_rate_within_budget": True,
        "no_open_dead_letters": False,
        "schema_as_the_template": True,
    }
    metadata = materializations(result)[DAY].metadata
    assert metadata["rows_rejected"].value == 1
    assert Path(str(metadata["error_workbook"].value)).is_file()
    assert project.query("SELECT order_no FROM sales.orders") == [(1,)]


def test_run_writes_json_lines_with_load_and_place(project: Project) -> None:
    project.drop("orders.xlsx", [1, 5], [2, "x"])
    tags = {
        "dagster/asset_partition_range_start": DAY,
        "dagster/asset_partition_range_end": EMPTY_DAY,
    }

    result = project.run(tags=tags)

    lines = lines_of(project.settings.state_dir, result.run_id)
    assert {(line["run"], line["template"]) for line in lines} == {(result.run_id, "orders")}
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_ended")
    loaded, empty = (line for line in lines if line["event"] == "partition")
    assert (loaded["partition"], loaded["i"], loaded["n"]) == (DAY, 1, 2)
    assert (loaded["rows"]["inserted"], loaded["rows"]["rejected"]) == (1, 1)
    assert loaded["files"] == ["orders.xlsx"]
    assert [(loaded["load"],)] == project.query("SELECT load_id FROM ops.loads")
    assert empty["message"] == f"[2/2] {EMPTY_DAY} skipped: no files of this day"


def test_day_without_files_is_skipped_and_not_a_success(project: Project) -> None:
    result = project.run(partition_key=EMPTY_DAY)

    assert result.success
    assert materializations(result)[EMPTY_DAY].metadata["state"].value == "skipped"


def test_file_over_its_budget_fails_its_day_and_not_the_others(project: Project) -> None:
    project.drop("orders.xlsx", [1, 5])
    project.drop("orders.xlsx", [2, "x"], [3, "y"], day=EMPTY_DAY)

    result = project.run(
        tags={
            "dagster/asset_partition_range_start": DAY,
            "dagster/asset_partition_range_end": EMPTY_DAY,
        }
    )

    assert not result.success
    assert list(materializations(result)) == [DAY]
    assert project.query("SELECT order_no FROM sales.orders") == [(1,)]


@pytest.mark.long
def test_correction_in_the_inbox_closes_the_loop(project: Project) -> None:
    project.drop("orders.xlsx", [1, 5], [2, "x"])
    loaded = materializations(project.run(partition_key=DAY))[DAY].metadata
    inbox = project.folder / "inbox"
    inbox.mkdir()
    errors = Path(str(loaded["error_workbook"].value))
    edit(errors, (1, "Amount", 6)).rename(inbox / "fixed.xlsx")
    os.utime(inbox / "fixed.xlsx", (1_727_800_000, 1_727_800_000))

    [_, request] = project.tick().run_requests or ()
    assert request.job_name == "spreadsheet_replay"
    result = project.run("spreadsheet_replay")

    assert result.success
    metadata = materializations(result)[DAY].metadata
    assert (metadata["rows_fixed"].value, metadata["rows_still_wrong"].value) == (1, 0)
    assert checks(result) == {"no_open_dead_letters": True}
    assert project.query("SELECT order_no FROM sales.orders ORDER BY 1") == [(1,), (2,)]
    assert [request.job_name for request in project.tick().run_requests or ()] == [
        "spreadsheet_load"
    ]


def test_sensor_asks_once_for_the_same_files_and_again_for_changed_ones(project: Project) -> None:
    path = project.drop("orders.xlsx", [1, 5])
    project.drop("orders.xlsx", [2, 5], day="2024-10-05")  # tomorrow and later is no partition

    [first] = project.tick().run_requests or ()
    [second] = project.tick().run_requests or ()
    os.utime(path, (1_727_800_000, 1_727_800_000))
    [changed] = project.tick().run_requests or ()

    assert first.partition_key == DAY
    assert first.run_key == second.run_key != changed.run_key


def test_file_that_may_still_be_written_is_left(project: Project) -> None:
    path = project.drop("orders.xlsx", [1, 5])
    now = ClockResource(fixed_at="2024-10-02T12:00:00+00:00").now().timestamp()
    os.utime(path, (now - 1, now - 1))

    assert not project.tick().run_requests


def test_nothing_is_built_without_templates(tmp_path: Path) -> None:
    (tmp_path / "batch_assets.toml").write_text("[dagster]\n")
    settings = load_settings({"BATCH_ASSETS_HOME": str(tmp_path)}, working_dir=tmp_path)

    repository = build_definitions(settings).get_repository_def()

    names = [
        *repository.job_names,
        *(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()),
    ]
    assert not [name for name in names if "spreadsheet" in name]
