import subprocess
import sys

import pytest

from benchmarks import startup


def test_a_start_is_counted_in_processor_time_of_the_started_process() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"

    cpu, wall = startup.start((sys.executable, "-c", busy))

    assert cpu >= 0.25
    assert wall > 0


def test_a_process_that_fails_is_not_a_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        startup.start((sys.executable, "-c", "raise SystemExit(3)"))
