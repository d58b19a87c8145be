"""`dagster job execute` as CI runs it: a process of its own, with nothing in the environment."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.postgres.connect import database_url
from batch_assets.postgres.embedded import remove_server
from batch_assets.postgres.migrate import apply_pending
from batch_assets.settings import load_settings

PROJECT = Path(__file__).resolve().parents[2]
GOOD, HOLIDAY, MISSING = "2024-09-30", "2024-10-01", "2024-10-10"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files a user has, in a folder of more than 200 characters with spaces in its name."""
    folder = tmp_path_factory.mktemp("deep") / ("a folder " * 16).strip() / ("x" * 60)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 200
    for name in ("dagster.yaml", "batch_assets.toml"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "examples", folder / "examples")
    yield folder
    remove_server(folder / ".batch_assets")


def job_execute(
    project: Path, tags: dict[str, str], job: str = "market_sync"
) -> "subprocess.CompletedProcess[str]":
    """Run the documented command; only where this checkout lies is set, for want of an install."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "job", "execute", "-m", "batch_assets.definitions"),
            *("-j", job, "--tags", json.dumps(tags)),
        ],
        cwd=project,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def read_days(project: Path) -> dict[str, tuple[str, int]]:
    """State and rows of each day, by the newest row of the ledger."""
    with psycopg.connect(database_url(load_settings({}, working_dir=project))) as conn:
        rows = conn.execute(
            """SELECT DISTINCT ON (window_key) window_key, state, rows_inserted
               FROM ops.loads ORDER BY window_key, load_id DESC"""
        ).fetchall()
    return {key: (state, inserted) for key, state, inserted in rows}


def test_fresh_copy_loads_a_day_into_the_storage_that_up_shows(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = job_execute(project, {"dagster/partition": GOOD})

    assert done.returncode == 0, done.stderr
    assert read_days(project)[GOOD] == ("success", 400)
    # Dagster wants the command to be replaced; our definitions use nothing that it warns of.
    assert "DeprecationWarning" not in done.stderr
    # The way `up` opens it: from any folder, told only which configuration is in force.
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(project / "batch_assets.toml"))
    with dg.DagsterInstance.from_config(str(project)) as instance:
        [run] = instance.get_runs()
        assert (run.job_name, run.status) == ("market_sync", dg.DagsterRunStatus.SUCCESS)
        assert run.tags["dagster/partition"] == GOOD
        assert run.tags["batch_assets/feed"] == "examples"


@pytest.mark.long
def test_holiday_is_a_success(project: Path) -> None:
    done = job_execute(project, {"dagster/partition": HOLIDAY})

    assert done.returncode == 0, done.stderr
    assert read_days(project)[HOLIDAY] == ("skipped", 0)
    assert "not_a_session" in done.stderr or "not a session" in done.stderr


@pytest.mark.long
def test_range_with_a_missing_day_fails_and_keeps_the_others(project: Path) -> None:
    done = job_execute(
        project,
        {
            "dagster/asset_partition_range_start": "2024-10-07",
            "dagster/asset_partition_range_end": MISSING,
        },
    )

    assert done.returncode == 1
    assert f"{MISSING}: " in done.stderr
    days = read_days(project)
    assert days["2024-10-07"][0] == "skipped"
    assert days["2024-10-08"] == ("success", 400)
    assert days["2024-10-09"] == ("success", 400)
    assert days[MISSING][0] == "failed"


@pytest.mark.long
def test_failed_gating_check_is_a_failure(project: Path) -> None:
    url = database_url(load_settings({}, working_dir=project))
    apply_pending(url)
    with psycopg.connect(url) as conn:
        conn.execute(
            """CREATE FUNCTION public.steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               DELETE FROM market.daily_bars WHERE trade_date = '2024-09-27'; RETURN NULL; END $$"""
        )
        conn.execute(
            "CREATE TRIGGER thief AFTER INSERT ON ops.windows EXECUTE FUNCTION public.steal()"
        )

    done = job_execute(project, {"dagster/partition": "2024-09-27"})

    with psycopg.connect(url) as conn:
        conn.execute("DROP FUNCTION public.steal() CASCADE")
    assert done.returncode == 1
    assert "2024-09-27 has 0 rows instead of 400" in done.stderr


@pytest.mark.long
def test_devices_are_loaded_from_the_configuration_alone(project: Path) -> None:
    first = job_execute(project, {}, "device_load")
    second = job_execute(project, {}, "device_load")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr[-4000:]
    with psycopg.connect(database_url(load_settings({}, working_dir=project))) as conn:
        counts = conn.execute(
            "SELECT (SELECT count(*) FROM devices.records), (SELECT count(*) FROM devices.latest), "
            "(SELECT count(*) FROM devices.daily WHERE 'steps' = ANY (differing)), "
            "(SELECT count(*) FROM devices.weekly), "
            "(SELECT sum(rows_rejected) FROM ops.loads WHERE target = 'devices.records')"
        ).fetchone()
    assert counts == (576, 12, 12, 12, 2)
