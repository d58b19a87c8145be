"""A recovery that never ends is killed and reported, not waited for."""

import signal
import subprocess
import sys
from pathlib import Path

from batch_assets_tests.scenarios.matrix.warm import WarmDagster

# Answers as the warm process does, with a command that ends only when somebody kills it.
_ENDLESS = """
import json, subprocess, sys
for line in sys.stdin:
    command = subprocess.Popen(["sleep", "1000"])
    print(json.dumps([command.wait(), 0]), flush=True)
"""


def test_a_command_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        warm = WarmDagster(process)

        status, _ = warm.run([], tmp_path, {}, tmp_path / "log", seconds=2.0)

        assert status == -signal.SIGKILL
