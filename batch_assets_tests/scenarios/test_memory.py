"""Promise P7: memory is bounded by configuration, not by the size of the input."""

import json
import subprocess
import sys

import pytest

from batch_assets_tests.loading.synthetic import create_table
from batch_assets_tests.scenarios import memory_writer

LIMIT_MB = 512


@pytest.mark.long
@pytest.mark.parametrize("window_count", [1, 400], ids=["one window", "400 windows"])
def test_two_million_rows_stay_below_the_memory_of_a_run(postgres: str, window_count: int) -> None:
    create_table(postgres)

    done = subprocess.run(
        [sys.executable, "-m", memory_writer.__name__, postgres, str(window_count)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=600,
    )

    said = json.loads(done.stdout)
    sys.stderr.write(f"{said}\n")
    assert said["inserted"] == memory_writer.ROWS
    assert said["peak_mb"] < LIMIT_MB, said
