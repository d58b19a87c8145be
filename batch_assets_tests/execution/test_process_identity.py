import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from batch_assets.execution.process_identity import (
    Life,
    ProcessIdentity,
    evaluate_life,
    this_process,
)
from batch_assets_tests.polling import wait_until

_INTRODUCE = (
    "from batch_assets.execution.process_identity import this_process; "
    "import dataclasses, json; "
    "print(json.dumps(dataclasses.asdict(this_process())), flush=True); input()"
)


class Child:
    """A process that has said who it is and then waits."""

    def __init__(self) -> None:
        import json

        self.process = subprocess.Popen(
            [sys.executable, "-c", _INTRODUCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.identity = ProcessIdentity(**json.loads(self.process.stdout.readline()))


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.process.kill()
    made.process.communicate()


def test_living_process_is_alive(child: Child) -> None:
    assert child.identity.pid == child.process.pid
    assert evaluate_life(child.identity) is Life.ALIVE


def test_calling_process_is_alive() -> None:
    assert evaluate_life(this_process()) is Life.ALIVE


def test_stopped_process_is_alive(child: Child) -> None:
    child.process.send_signal(signal.SIGSTOP)
    status = psutil.Process(child.process.pid).status
    wait_until(lambda: status() == psutil.STATUS_STOPPED, "stopped")

    assert evaluate_life(child.identity) is Life.ALIVE


def test_killed_process_is_dead_also_before_its_parent_has_noticed(child: Child) -> None:
    child.process.kill()
    status = psutil.Process(child.process.pid).status
    wait_until(lambda: status() == psutil.STATUS_ZOMBIE, "killed")

    assert evaluate_life(child.identity) is Life.DEAD

    child.process.wait()
    assert evaluate_life(child.identity) is Life.DEAD


def test_later_process_of_the_same_id_is_not_taken_for_it(child: Child) -> None:
    earlier = replace(child.identity, process_start="1")

    assert evaluate_life(earlier) is Life.DEAD


def test_process_of_an_earlier_boot_of_this_machine_is_dead() -> None:
    here = replace(this_process(), machine_id="this one")
    if not this_process().machine_id:
        pytest.skip("this machine has no /etc/machine-id")

    assert evaluate_life(replace(this_process(), boot_id="an earlier boot")) is Life.DEAD
    assert evaluate_life(replace(here, boot_id="an earlier boot")) is Life.UNKNOWN


@pytest.mark.parametrize("field", ["host", "pid_namespace"])
def test_process_that_cannot_be_seen_from_here_is_unknown(field: str) -> None:
    elsewhere = replace(this_process(), **{field: "elsewhere"}, pid=2**22 + 1)

    assert evaluate_life(elsewhere) is Life.UNKNOWN


def test_forked_process_has_an_identity_of_its_own() -> None:
    mine = this_process()
    read_end, write_end = os.pipe()

    child_pid = os.fork()
    if child_pid == 0:
        os.write(write_end, str(this_process().pid).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child_pid, 0)

    with os.fdopen(read_end) as answer:
        assert answer.read() == str(child_pid)
    assert mine.pid == os.getpid()
