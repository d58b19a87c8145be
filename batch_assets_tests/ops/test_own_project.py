import os
import subprocess
from pathlib import Path

import pytest
import yaml

from batch_assets.errors import ConfigurationError
from batch_assets.ops.cli.main import run
from batch_assets.ops.own_project import PROJECT_FILES, write_own_project
from batch_assets.settings import load_settings


def test_a_project_is_the_configuration_in_force_inside_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my project"

    project = write_own_project(folder)

    settings = load_settings({}, working_dir=folder)
    assert settings.config_file == folder / "batch_assets.toml"
    assert settings.state_dir == folder / ".batch_assets"
    feed = settings.section("market")["feeds"]["examples"]["folder"]
    assert list((folder / feed).glob("*.csv"))
    assert {str(name) for name in project.written} > set(PROJECT_FILES)
    assert yaml.safe_load((folder / "dagster.yaml").read_text())["storage"]["custom"]
    assert not list(folder.rglob("*.py"))


def test_what_is_there_is_kept_and_what_is_lost_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path), "--no-examples"]) == 0
    own = "[dagster]\nfirst_day = 2020-01-01\n"
    (tmp_path / "batch_assets.toml").write_text(own)
    (tmp_path / "workspace.yaml").unlink()
    capsys.readouterr()

    assert run(["init", str(tmp_path), "--no-examples"]) == 0

    said = capsys.readouterr()
    assert said.out == "workspace.yaml\n"
    assert "kept: batch_assets.toml" in said.err
    assert (tmp_path / "batch_assets.toml").read_text() == own
    assert not (tmp_path / "examples").exists()


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "absent"

    assert run(["init", str(folder), "--dry-run"]) == 0

    assert "batch_assets.toml" in capsys.readouterr().out
    assert not folder.exists()


def test_a_folder_that_is_a_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("mine")

    with pytest.raises(ConfigurationError, match="name another folder"):
        write_own_project(file)

    assert file.read_text() == "mine"


@pytest.mark.long
def test_dagster_runs_a_job_in_a_project_that_is_not_the_checkout(
    tmp_path: Path, postgres: str
) -> None:
    write_own_project(tmp_path)

    done = subprocess.run(
        [
            *("dagster", "job", "execute", "-m", "batch_assets.definitions", "-j", "market_sync"),
            *("--tags", '{"dagster/partition": "2024-09-30"}'),
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BATCH_ASSETS_DATABASE_URL": postgres},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / ".batch_assets" / "postgres").exists()
