"""Devices from the configuration file alone: assets, checks, metadata, sensor."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.settings import load_settings
from batch_assets.sources.devices.shards import bucket_of
from batch_assets_tests.defs.market_files import (
    evaluations,
    failure_text,
    lines_of,
    verdict_of,
)
from batch_assets_tests.ingest.devices.landing import Plan, ask, drop, last_of, make_rows, stored
from batch_assets_tests.ingest.devices.landing import run as load_beside

CONFIGURATION = """
[devices]
landing = "landing"
shards = 4
settle_seconds = 0
file_batch_rows = 200
"""
KEYS = ["devices/daily", "devices/latest", "devices/records", "devices/weekly"]
TODAY = datetime.now(UTC).date()


class Project:
    """A folder with a configuration, and the database it is loaded into."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "batch_assets.toml").write_text(CONFIGURATION)
        self.folder, self.url, self.root = folder, url, folder / "landing"
        self.root.mkdir()

    def definitions(self) -> dg.Definitions:
        environment = {
            "BATCH_ASSETS_DATABASE_URL": self.url,
            "BATCH_ASSETS_HOME": str(self.folder / "state"),
        }
        postgres = PostgresCopyResource(url=self.url, pool_min=1)
        return build_definitions(
            load_settings(environment, working_dir=self.folder), resources={"postgres": postgres}
        )

    def execute(self, day: date | None = None) -> dg.ExecuteInProcessResult:
        tags = {"dagster/partition": day.isoformat()} if day else {}
        with dg.DagsterInstance.ephemeral() as instance:
            return (
                self.definitions()
                .resolve_job_def("device_load")
                .execute_in_process(instance=instance, raise_on_error=False, tags=tags)
            )

    def tick(self, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
        resources = {"postgres": PostgresCopyResource(url=self.url), "clock": ClockResource()}
        sensor = self.definitions().resolve_sensor_def("device_load_sensor")
        with dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources
        ) as context:
            found = sensor(context)
        assert isinstance(found, dg.SensorResult)
        return found


@pytest.fixture
def project(postgres: str, tmp_path: Path) -> Project:
    return Project(tmp_path, postgres)


def days_of(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetMaterialization]:
    found = {}
    for event in result.all_events:
        if event.is_step_materialization:
            one = event.step_materialization_data.materialization
            found[one.asset_key.to_user_string(), str(one.partition)] = one
    return found


def age(path: Path, days: int) -> None:
    changed = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(path, (changed, changed))


def test_job_without_a_partition_loads_what_has_arrived_once(project: Project) -> None:
    rows = make_rows(1000)
    drop(project.root, "a.ndjson", rows)

    first, second = project.execute(), project.execute()

    assert first.success, failure_text(first)
    assert second.success, failure_text(second)
    assert stored(project.url) == last_of(rows)
    assert sorted(days_of(first)) == [(key, TODAY.isoformat()) for key in KEYS]
    metadata = days_of(first)["devices/records", TODAY.isoformat()].metadata
    assert metadata["rows_read"].value == 1000
    assert metadata["batch_seconds_p95"].value > 0
    assert "batches of" in str(metadata["throughput"].value)
    assert str(metadata["shards"].value).count("\n") == 5
    assert len(evaluations(first)) == 7
    assert all(evaluation.passed for evaluation in evaluations(first)), evaluations(first)
    assert verdict_of(first, "rollups_equal_recomputation").metadata["days_sampled"].value == 40
    again = days_of(second)["devices/records", TODAY.isoformat()].metadata
    assert (again["rows_read"].value, again["state"].value) == (0, "skipped (no_files)")


def test_run_writes_json_lines_with_its_loads_and_the_days_files(project: Project) -> None:
    drop(project.root, "a.ndjson", make_rows(300))

    result = project.execute(TODAY)

    lines = lines_of(project.folder / "state", result.run_id)
    assert {line["run"] for line in lines} == {result.run_id}
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_ended")
    [day] = [line for line in lines if line["event"] == "partition"]
    assert (day["partition"], day["i"], day["n"]) == (TODAY.isoformat(), 1, 1)
    assert day["message"] == f"[1/1] {TODAY} success: 1 files done, 0 failed, 0 left"
    [rows] = [line for line in lines if line["event"] == "loads"]
    assert rows["rows"]["read"] == 300
    with psycopg.connect(project.url) as conn:
        ids = conn.execute("SELECT load_id FROM ops.loads").fetchall()
    assert {load for (load,) in ids} == set(rows["loads"])


@pytest.mark.long
def test_a_day_loads_what_is_left_of_earlier_days_and_nothing_later(project: Project) -> None:
    rows = make_rows(300)
    drop(project.root, "a.ndjson", rows[:100])
    drop(project.root, "b.ndjson", rows[100:200])
    drop(project.root, "c.ndjson", rows[200:])
    age(project.root / "a.ndjson", 5)
    age(project.root / "b.ndjson", 3)

    result = project.execute(TODAY - timedelta(days=3))

    assert result.success, failure_text(result)
    assert stored(project.url) == last_of(rows[:200])
    loaded = [(TODAY - timedelta(days=age)).isoformat() for age in (5, 3)]
    assert sorted(days_of(result)) == sorted((key, day) for key in KEYS for day in loaded)
    assert project.execute(TODAY).success
    assert stored(project.url) == last_of(rows)


def test_a_shard_that_fails_is_named_and_the_others_are_stored(project: Project) -> None:
    rows = make_rows(400)
    drop(project.root, "a.ndjson", rows)
    with psycopg.connect(project.url) as conn:
        conn.execute(
            """CREATE FUNCTION devices.break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF get_byte(sha256(convert_to(NEW.device_sn, 'UTF8')), 0) % 4 = 2 THEN
                   RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = 'this page is torn';
                 END IF; RETURN NEW; END $$"""
        )
        conn.execute(
            "CREATE TRIGGER break BEFORE INSERT ON devices.records "
            "FOR EACH ROW EXECUTE FUNCTION devices.break()"
        )

    result = project.execute(TODAY)

    assert not result.success
    assert "1 shards failed" in failure_text(result)
    assert "shard 2: " in failure_text(result)
    assert "this page is torn" in failure_text(result)
    assert days_of(result) == {}
    assert not verdict_of(result, "every_file_is_done").passed
    others = [row for row in rows if bucket_of(row[0]) % 4 != 2]
    assert stored(project.url) == last_of(others)
    with psycopg.connect(project.url) as conn:
        conn.execute("DROP TRIGGER break ON devices.records")
    assert project.execute().success
    assert stored(project.url) == last_of(rows)


def test_rows_that_cannot_be_stored_are_warned_of(project: Project) -> None:
    drop(project.root, "a.ndjson", [("SN1", minutes, 60) for minutes in range(100)])
    drop(project.root, "b.ndjson", [("SN1", minutes, 999) for minutes in range(15)])
    (project.root / "c.csv").write_text("x,y\n1,2\n")

    result = project.execute(TODAY)

    assert not result.success
    assert not verdict_of(result, "error_rate_within_budget").passed
    assert not verdict_of(result, "no_open_dead_letters").passed
    files = verdict_of(result, "every_file_is_done")
    assert files.severity is dg.AssetCheckSeverity.WARN
    assert "c.csv" in str(files.description)
    assert verdict_of(result, "ledger_balances").passed


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("UPDATE devices.latest SET heart_rate_bpm = 1", "order_kept_per_device"),
        ("UPDATE devices.daily_rollups SET heart_rate_sum = 1", "rollups_equal_recomputation"),
        ("DELETE FROM devices.daily_rollups", "weeks_equal_their_days"),
    ],
)
def test_damage_is_seen_by_its_check(project: Project, damage: str, check: str) -> None:
    drop(project.root, "a.ndjson", make_rows(100))
    with psycopg.connect(project.url) as conn:
        table = damage.split()[1] if damage.startswith("UPDATE") else damage.split()[2]
        conn.execute(
            f"""CREATE FUNCTION devices.damage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  IF pg_trigger_depth() = 1 THEN {damage}; END IF; RETURN NULL; END $$"""  # type: ignore[arg-type]  # reason: literals of this test
        )
        conn.execute(
            f"CREATE TRIGGER damage AFTER INSERT ON {table} "  # type: ignore[arg-type]  # reason: literals of this test
            "FOR EACH STATEMENT EXECUTE FUNCTION devices.damage()"
        )

    result = project.execute()

    assert not verdict_of(result, check).passed
    assert "such as SN" in str(verdict_of(result, check).description)


def test_backfill_of_a_range_is_one_load_that_tells_each_day(project: Project) -> None:
    rows = {age_days: make_rows(20, seed=age_days) for age_days in (5, 4, 2)}
    for age_days, sent in rows.items():
        drop(project.root, f"{age_days}.ndjson", sent)
        age(project.root / f"{age_days}.ndjson", age_days)
    first, last = (TODAY - timedelta(days=count) for count in (5, 3))
    range_tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }

    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            project.definitions()
            .resolve_job_def("device_load")
            .execute_in_process(instance=instance, tags=range_tags)
        )

    assert result.success, failure_text(result)
    told = days_of(result)
    days = [(first + timedelta(days=count)).isoformat() for count in range(3)]
    assert sorted(told) == [(key, day) for key in KEYS for day in days]
    files = [told["devices/records", day].metadata["files_done"].value for day in days]
    assert files == [1, 1, 0]
    assert stored(project.url) == last_of([*rows[5], *rows[4]])


def test_schedule_asks_for_a_run_of_today_once_a_tick(project: Project) -> None:
    definitions = project.definitions()
    schedule = definitions.resolve_schedule_def("device_load_schedule")
    moment = datetime(TODAY.year, TODAY.month, TODAY.day, 0, 15, tzinfo=UTC)

    with dg.DagsterInstance.ephemeral() as instance:
        ticks = [
            schedule.evaluate_tick(
                dg.build_schedule_context(
                    instance=instance,
                    scheduled_execution_time=moment,
                    repository_def=definitions.get_repository_def(),
                )
            )
            for _ in range(2)
        ]

    first, again = (tick.run_requests or [] for tick in ticks)
    assert [request.partition_key for request in first] == [TODAY.isoformat()]
    assert [request.run_key for request in first] == [request.run_key for request in again]
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_sensor_asks_for_one_run_and_leaves_the_rest_to_others(project: Project) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert project.tick(instance).run_requests == []
        drop(project.root, "a.ndjson", make_rows(10))
        drop(project.root, "b.ndjson", make_rows(10))
        age(project.root / "a.ndjson", 4)

        [request] = project.tick(instance).run_requests or []

        assert request.partition_key == TODAY.isoformat()
        with psycopg.connect(project.url) as conn:
            conn.execute(
                "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at) "
                "VALUES ('devices.workers/1', 'host', 0, now(), now() + interval '1 minute')"
            )
        tick = project.tick(instance)
        assert tick.run_requests == []
        assert "1 workers of the continuous mode" in str(tick.skip_reason)
        ask(project.url, "DELETE FROM ops.leases RETURNING resource")
        assert project.execute(date.fromisoformat(str(request.partition_key))).success
        assert project.tick(instance).run_requests == []


def test_sensor_observes_what_is_committed_beside_dagster_once(project: Project) -> None:
    drop(project.root, "a.ndjson", make_rows(300))
    load_beside(Plan(project.url, str(project.root)))
    ask(
        project.url,
        "UPDATE ops.batch_metrics SET finished_at = finished_at - interval '3 s' RETURNING 1",
    )
    with dg.DagsterInstance.ephemeral() as instance:
        first = project.tick(instance)
        second = project.tick(instance, first.cursor)

    [seen] = first.asset_events
    assert isinstance(seen, dg.AssetObservation)
    assert seen.asset_key.to_user_string() == "devices/records"
    assert seen.metadata["rows_read"].value == 300
    assert seen.metadata["shards"].value == 4
    assert second.asset_events == []
    assert second.cursor == first.cursor
