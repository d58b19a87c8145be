"""Waiting in tests: a condition and a deadline, never a fixed sleep."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Poll until the condition holds; fail the test when the deadline passes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)
