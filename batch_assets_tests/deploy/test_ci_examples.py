"""The scripts of deploy/ci, run as a shell of the pipeline would run them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from batch_assets.ops.own_project import write_own_project

PROJECT = Path(__file__).resolve().parents[2]
# The environment is there already; an index is not.
INSTALLING = re.compile(r"^(pip install|python -m venv|\. /tmp/venv)", re.MULTILINE)


def scripts_of(name: str) -> list[str]:
    document: dict[str, Any] = yaml.safe_load((PROJECT / "deploy/ci" / name).read_text("utf-8"))
    if "stages" in document:
        before = document["default"]["before_script"]
        jobs = [document[stage] for stage in document["stages"]]
        return ["\n".join([*before, *job["script"]]) for job in jobs]
    return [step["run"] for step in document["jobs"]["load"]["steps"] if "run" in step]


def without_installation(script: str) -> str:
    kept = [line for line in script.splitlines() if not INSTALLING.match(line)]
    return "\n".join(kept)


@pytest.mark.parametrize("name", ["github-load.yml", "gitlab-ci.yml"])
def test_only_lines_that_install_are_left_out(name: str) -> None:
    lines = [line for script in scripts_of(name) for line in script.splitlines()]
    left_out = [line for line in lines if INSTALLING.match(line)]

    assert left_out
    assert all("batch-assets[embedded]" in line or "venv" in line for line in left_out)


@pytest.mark.long
@pytest.mark.parametrize("name", ["github-load.yml", "gitlab-ci.yml"])
def test_a_pipeline_does_what_it_says(name: str, postgres: str, tmp_path: Path) -> None:
    write_own_project(tmp_path)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "BATCH_ASSETS_DATABASE_URL": postgres,
        "FROM": "2024-09-27",
        "TO": "2024-09-30",
    }
    for script in map(without_installation, scripts_of(name)):
        done = subprocess.run(
            # As both services start it: the first line that fails ends the step.
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"

    with psycopg.connect(postgres) as conn:
        days = conn.execute(
            "SELECT array_agg(DISTINCT trade_date::text ORDER BY trade_date::text) "
            "FROM market.daily_bars"
        ).fetchone()
    assert days == (["2024-09-27", "2024-09-30"],)


def test_a_pipeline_loads_yesterday_where_no_day_is_given() -> None:
    (line,) = {
        line
        for name in ("github-load.yml", "gitlab-ci.yml")
        for script in scripts_of(name)
        for line in script.splitlines()
        if line.startswith("FROM=")
    }
    told = subprocess.run(
        ["bash", "-ec", f'{line}; TO="${{TO:-$FROM}}"; echo "$FROM $TO"'],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", told[0])
    assert told[0] == told[1]
