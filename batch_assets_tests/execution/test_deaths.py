import signal

import pytest

from batch_assets.execution.deaths import judge_death
from batch_assets.execution.tasks import TaskOutcome

LIMIT = 1_000_000


@pytest.mark.parametrize(
    ("status", "output", "peak", "kernel", "outcome"),
    [
        (signal.SIGKILL, b"", 0, True, "memory"),
        (signal.SIGKILL, b"", 0, False, "crash"),
        (signal.SIGKILL, b"", 900_000, False, "memory"),
        (signal.SIGABRT, b"terminate called after ... std::bad_alloc", 0, False, "memory"),
        (signal.SIGABRT, b"memory allocation of 17 bytes failed", 0, False, "memory"),
        (signal.SIGABRT, b"assertion failed", 0, True, "crash"),
        (signal.SIGSEGV, b"", 900_000, False, "memory"),
        (signal.SIGSEGV, b"", 100_000, False, "crash"),
        (3 << 8, b"std::bad_alloc", 900_000, True, "crash"),
    ],
)
def test_death_is_judged_by_what_is_left(
    status: int, output: bytes, peak: int, kernel: bool, outcome: str
) -> None:
    death = judge_death(
        status, last_output=output, peak_bytes=peak, limit_bytes=LIMIT, has_kernel_killed=kernel
    )

    assert death.outcome is TaskOutcome(outcome)
    assert (death.exit_code is None) != (death.signal is None)


def test_death_names_signal_and_limit() -> None:
    death = judge_death(signal.SIGKILL, last_output=b"", peak_bytes=999_999, limit_bytes=LIMIT)

    assert death.signal == signal.SIGKILL
    assert "SIGKILL" in death.error
    assert "1000000 were allowed" in death.error
