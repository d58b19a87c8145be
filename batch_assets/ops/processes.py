"""Processes that belong together: found by a mark in their environment, stopped as one.

The mark is inherited, so a run worker or a step is found even when the process that started it is
dead and it has been handed to init. Parentage and process groups do not survive that everywhere.
The embedded server is started with an environment of its own and never carries a mark.
"""

import time
from contextlib import suppress

import psutil

MARK = "BATCH_ASSETS_STACK"

# Looking at every process of the machine costs milliseconds; a tenth of a second is unnoticed.
_POLL_SECONDS = 0.1
# After SIGKILL the kernel needs a moment, longer when memory is being written out.
_KILL_SECONDS = 10.0


def list_marked(stack_id: str) -> list[psutil.Process]:
    """The living processes of a stack, without the caller."""
    found = []
    for process in psutil.process_iter():
        # Processes end while we look, and those of other users do not show their environment.
        with suppress(psutil.Error, OSError):
            if _belongs(process, stack_id):
                found.append(process)
    return found


def stop_marked(stack_id: str, *, grace_seconds: float) -> list[int]:
    """Ask every process of a stack to end, then make it end.

    Processes that appear while it waits are asked as well.

    Args:
        stack_id: The mark of the stack.
        grace_seconds: How long a process may take to end by itself.

    Returns:
        Ids of the processes that had to be killed.
    """
    deadline = time.monotonic() + grace_seconds
    asked: set[int] = set()
    while (left := list_marked(stack_id)) and time.monotonic() < deadline:
        for process in left:
            if process.pid not in asked:
                asked.add(process.pid)
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
        time.sleep(_POLL_SECONDS)
    killed: set[int] = set()
    deadline = time.monotonic() + _KILL_SECONDS
    while (left := list_marked(stack_id)) and time.monotonic() < deadline:
        for process in left:
            killed.add(process.pid)
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(_POLL_SECONDS)
    return sorted(killed)


def _belongs(process: psutil.Process, stack_id: str) -> bool:
    if process.pid == psutil.Process().pid or process.status() == psutil.STATUS_ZOMBIE:
        return False
    return bool(process.environ().get(MARK) == stack_id)
