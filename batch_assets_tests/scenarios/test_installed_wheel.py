"""What a person gets who installs the built wheel, far from any checkout."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets import __version__
from batch_assets.postgres.embedded import remove_server

pytestmark = pytest.mark.long

PROJECT = Path(__file__).resolve().parents[2]


class Installation:
    """A virtual environment that holds the wheel and nothing of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.artefacts = folder / "dist"

    def run(self, *command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(cwd)},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-4000:]}"
        return done


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(tmp_path_factory.mktemp("installed"))
    # The wheel is built from the source archive: what the archive forgets, the wheel lacks.
    for command in (
        [sys.executable, "-m", "build", "--outdir", str(made.artefacts), str(PROJECT)],
        [sys.executable, "-m", "venv", str(made.bin.parent)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = made.artefacts.glob("*.whl")
    made.run(
        *("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        f"{wheel}[embedded,demo]",
        cwd=made.artefacts,
    )
    return made


@pytest.fixture
def own_project(installation: Installation, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "own project"
    installation.run("batch-assets", "init", str(folder), cwd=tmp_path)
    yield folder
    for state_dir in folder.rglob(".batch_assets"):
        remove_server(state_dir)
        if (state_dir / "demo" / ".batch_assets").exists():
            remove_server(state_dir / "demo" / ".batch_assets")


def test_the_version_is_the_one_of_the_sources(installation: Installation, tmp_path: Path) -> None:
    said = installation.run("batch-assets", "--version", cwd=tmp_path).stdout.strip()

    assert said == __version__
    assert {path.name for path in installation.artefacts.iterdir()} == {
        f"batch_assets-{__version__}-py3-none-any.whl",
        f"batch_assets-{__version__}.tar.gz",
    }


def test_an_installed_wheel_runs_a_job_in_a_project_of_its_own(
    installation: Installation, own_project: Path
) -> None:
    job = ("dagster", "job", "execute", "-m", "batch_assets.definitions", "-j", "market_sync")

    installation.run(*job, "--tags", '{"dagster/partition": "2024-09-30"}', cwd=own_project)

    status = installation.run("batch-assets", "db", "status", "--json", cwd=own_project)
    assert json.loads(status.stdout)["is_current"]
    doctor = installation.run("batch-assets", "doctor", cwd=own_project)
    assert str(own_project / "batch_assets.toml") in doctor.stdout + doctor.stderr
    assert str(PROJECT) not in doctor.stdout + doctor.stderr


def test_an_installed_wheel_runs_the_demonstration(
    installation: Installation, own_project: Path
) -> None:
    said = installation.run("batch-assets", "demo", cwd=own_project).stdout

    assert "the ledger balances" in said
    installation.run("batch-assets", "demo", "--remove", cwd=own_project)
    assert not (own_project / ".batch_assets" / "demo").exists()
