import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError, InfrastructureError
from batch_assets.execution import failpoints
from batch_assets_tests.polling import wait_until


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_nothing_happens_at_a_place_that_is_not_armed() -> None:
    failpoints.arm("other=fail")

    failpoints.reach("here")


def test_an_armed_place_fails_at_the_wanted_visit_and_only_then() -> None:
    failpoints.arm("here=fail@2, there=fail")

    failpoints.reach("here")
    with pytest.raises(InfrastructureError, match="on purpose"):
        failpoints.reach("here")
    failpoints.reach("here")


def test_arming_again_forgets_what_was_armed_and_counted() -> None:
    failpoints.arm("here=fail")

    failpoints.arm("")

    failpoints.reach("here")


@pytest.mark.parametrize("text", ["here=explode", "here", "here=kill@soon", "here=kill@0"])
def test_an_unknown_action_or_count_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected name=action"):
        failpoints.arm(text)


def _start(action: str) -> "subprocess.Popen[str]":
    program = (
        "import threading; from batch_assets.execution import failpoints\n"
        f"failpoints.arm('here={action}')\n"
        "def go():\n    failpoints.reach('here'); print('passed', flush=True)\n"
        "thread = threading.Thread(target=go); thread.start(); thread.join()\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_kill_ends_the_process_at_once() -> None:
    with _start("kill") as process:
        output, _ = process.communicate(timeout=30)

    assert process.returncode == -signal.SIGKILL
    assert output == ""


def test_stop_halts_every_thread_at_the_place_until_it_is_continued() -> None:
    with _start("stop") as process:
        try:
            wait_until(
                lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "a stop"
            )
            assert select.select([process.stdout], [], [], 0)[0] == []
        finally:
            process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=30)

    assert output == "passed\n"


def test_a_failpoint_that_fired_in_one_process_fires_in_no_other(tmp_path: Path) -> None:
    failpoints.arm(f"here=fail,>{tmp_path}")
    with pytest.raises(InfrastructureError):
        failpoints.reach("here")

    failpoints.arm(f"here=fail,>{tmp_path}")
    failpoints.reach("here")

    assert [file.name for file in tmp_path.iterdir()] == ["here"]
