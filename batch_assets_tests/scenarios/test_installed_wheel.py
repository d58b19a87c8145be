"""What a person gets who installs the built wheel, far from any checkout."""

import json
import re
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batch_assets import __version__
from batch_assets.ops.readiness import usable_port
from batch_assets.postgres.embedded import remove_server
from batch_assets_tests.polling import wait_until

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
            env=self._environment(cwd),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-4000:]}"
        return done

    @contextmanager
    def running(self, *command: str, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
        """A command that goes on until Ctrl-C, and what it says, line by line."""
        process = subprocess.Popen(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env=self._environment(cwd),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=120) in (0, 130)
        finally:
            process.kill()
            process.communicate()

    def _environment(self, home: Path) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(home)}


def address_said(process: "subprocess.Popen[str]", pattern: str) -> tuple[str, str]:
    """The first address that a running command prints in a line like this, and all lines so far."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(pattern, line):
            return found[1], "".join(said)
    raise AssertionError(f"ended without an address: {''.join(said)[-3000:]}")


def answers(url: str) -> bool:
    try:
        ask(url)
    except urllib.error.URLError:
        return False
    return True


def ask(url: str, query: str = "") -> str:
    body = json.dumps({"query": query}).encode() if query else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


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


def test_the_artefacts_hold_all_that_a_checkout_has(installation: Installation) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert len(tracked) > 1_000
    (archive,) = installation.artefacts.glob("*.tar.gz")
    (wheel,) = installation.artefacts.glob("*.whl")

    with tarfile.open(archive) as opened:
        archived = {name.partition("/")[2] for name in opened.getnames()}
    wheeled = set(zipfile.ZipFile(wheel).namelist())

    assert set(tracked) - archived == set()
    assert {name for name in tracked if name.startswith("batch_assets/")} - wheeled == set()
    travelling = re.compile(
        r"(sql/.+|examples/.+|batch_assets\.toml|dagster\.yaml|workspace\.yaml)"
    )
    inside = {f"batch_assets/shipped/{name}" for name in tracked if travelling.fullmatch(name)}
    assert len(inside) > 200
    assert inside - wheeled == set()
    assert not any(name.startswith(("batch_assets_tests/", "docs/")) for name in wheeled)


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
    port = str(usable_port("127.0.0.1", 0))
    with installation.running("batch-assets", "serve", "--port", port, cwd=own_project) as server:
        url, _ = address_said(server, r"(http://\S+)/ shows the state")
        wait_until(lambda: answers(f"{url}/healthz"), "the API to listen")
        assert json.loads(ask(f"{url}/readyz")) == {"status": "ok"}
        assert "<form" in ask(url)


def test_an_installed_wheel_runs_the_demonstration(
    installation: Installation, own_project: Path
) -> None:
    with installation.running("batch-assets", "demo", "--keep-open", cwd=own_project) as demo:
        # A range that was launched through GraphQL has been loaded when the address is told.
        url, said = address_said(demo, r"The UI is open at (\S+)")
        page = ask(url)
        listed = json.loads(ask(f"{url}/graphql", "{ assetNodes { assetKey { path } } }"))

    assert "the ledger balances" in said
    assert "<script" in page
    assert {"assetKey": {"path": ["market", "us_stocks", "daily_bars"]}} in listed["data"][
        "assetNodes"
    ]
    installation.run("batch-assets", "demo", "--remove", cwd=own_project)
    assert not (own_project / ".batch_assets" / "demo").exists()
