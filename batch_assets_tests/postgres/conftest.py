"""Processes that use an embedded server, so that tests can end them in every way there is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from batch_assets.postgres import embedded
from batch_assets.postgres.embedded_files import server_files
from batch_assets.postgres.embedded_postmaster import is_alive

PROJECT = Path(__file__).resolve().parents[2]

# Prints the server's URL, then lives until its standard input is closed.
_USER_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from batch_assets.postgres.embedded import ensure_server
print(ensure_server(Path(sys.argv[2]), linger_seconds=0.2).url("postgres"), flush=True)
sys.stdin.read()
"""


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Poll a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


class UserProcess:
    """A process that joined the server of a state directory."""

    def __init__(
        self, state_dir: Path, program: str = _USER_PROGRAM, env: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(sys.path), str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd="/",
            text=True,
        )

    def url(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line.startswith("postgresql://"), "the user process did not get a server"
        return line

    def leave(self) -> None:
        """End normally."""
        self._process.communicate()

    def kill(self) -> None:
        """End without any chance to clean up."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def _module_state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("state")
    yield folder
    embedded.remove_server(folder)


@pytest.fixture
def state_dir(_module_state_dir: Path) -> Iterator[Path]:
    """A state directory whose server is stopped; its data is that of the test before."""
    yield _module_state_dir
    _end(_module_state_dir)


@pytest.fixture
def fresh_state_dir(tmp_path: Path) -> Iterator[Path]:
    """A state directory without a server; for tests that spoil the data or need none."""
    folder = tmp_path / "state"
    yield folder
    _end(folder)
    embedded.remove_server(folder)


def _end(state_dir: Path) -> None:
    embedded.stop_server(state_dir)
    embedded._memberships.leave(server_files(state_dir))
    assert processes_in(embedded.server_status(state_dir).data_dir) == []


@pytest.fixture
def start_user() -> Iterator[Callable[..., UserProcess]]:
    """Start user processes; those that still live after the test are ended."""
    started: list[UserProcess] = []

    def start(state_dir: Path, **arguments: object) -> UserProcess:
        started.append(UserProcess(state_dir, **arguments))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        process.leave()


def wait_until_stopped(state_dir: Path) -> None:
    data_dir = embedded.server_status(state_dir).data_dir
    wait_until(
        lambda: embedded.server_status(state_dir).state == "stopped" and not processes_in(data_dir),
        "the server has stopped",
    )


def processes_in(folder: Path | None) -> list[psutil.Process]:
    """The processes whose working directory is a folder: those of the server with that data."""
    return [p for p in psutil.process_iter() if folder is not None and _cwd(p) == str(folder)]


def _cwd(process: psutil.Process) -> str | None:
    try:
        return process.cwd()
    except psutil.Error:
        return None


def kill_and_wait(pid: int | None) -> None:
    assert pid is not None
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(process), f"process {pid} is gone")
