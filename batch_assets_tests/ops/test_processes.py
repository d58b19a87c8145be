import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from batch_assets.ops.processes import MARK, list_marked, stop_marked
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]

_POLITE = "print('up', flush=True); import time; time.sleep(600)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _POLITE
_PARENT_THAT_LEAVES = (
    "import subprocess, sys; "
    f"subprocess.Popen([sys.executable, '-c', {_POLITE!r}], start_new_session=True)"
)


@pytest.fixture
def stack_id() -> Iterator[str]:
    name = uuid.uuid4().hex
    yield name
    for process in list_marked(name):
        process.kill()


def start(code: str, stack_id: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, MARK: stack_id},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    # The line says that signal handlers are in place.
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_processes_of_another_stack_are_left_alone(stack_id: str) -> None:
    other = uuid.uuid4().hex
    bystander = start(_POLITE, other)
    process = start(_POLITE, stack_id)

    stop_marked(stack_id, grace_seconds=10)

    assert process.wait(timeout=5) != 0
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_process_that_ignores_the_request_is_killed(stack_id: str) -> None:
    process = start(_STUBBORN, stack_id)

    killed = stop_marked(stack_id, grace_seconds=0.3)

    assert killed == [process.pid]
    process.wait(timeout=5)


def test_process_whose_parent_has_gone_is_found(stack_id: str) -> None:
    parent = start(_PARENT_THAT_LEAVES, stack_id)
    parent.wait(timeout=10)
    (orphan,) = list_marked(stack_id)

    stop_marked(stack_id, grace_seconds=10)

    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE


def test_keeper_stops_the_stack_when_its_pipe_closes(stack_id: str) -> None:
    process = start(_POLITE, stack_id)
    keeper = subprocess.Popen(
        [sys.executable, "-m", "batch_assets.ops.keeper", stack_id, "5"],
        stdin=subprocess.PIPE,
        cwd=PROJECT,
    )
    assert keeper.stdin is not None
    assert process.poll() is None

    keeper.stdin.close()

    assert keeper.wait(timeout=20) == 0
    wait_until(lambda: process.poll() is not None, "the process has ended")
