"""What a worker died of, judged by what it left: exit status, last output, peak memory.

A pure decision. Ending workers and noticing that they ended is in host.py.
"""

import os
import re
import signal
from dataclasses import dataclass

from batch_assets.execution.tasks import TaskOutcome

# How Rust, C++, glib and glibc say that an allocation failed, before they abort.
_OUT_OF_MEMORY = re.compile(
    rb"memory allocation of \d+ bytes failed|std::bad_alloc"
    rb"|failed to allocate \d+ bytes|[Cc]annot allocate memory|[Oo]ut of memory|MemoryError"
)

# Above this share of its limit a process that died without a word is taken to have died of it:
# C code that does not look at the result of malloc, or the kernel's own killer.
_NEAR_LIMIT_RATIO = 0.8


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a worker.

    Attributes:
        outcome: memory or crash.
        error: For a person.
        exit_code: None if a signal ended it.
        signal: None if it ended by itself.
    """

    outcome: TaskOutcome
    error: str
    exit_code: int | None
    signal: int | None


def judge_death(
    status: int,
    *,
    last_output: bytes,
    peak_bytes: int,
    limit_bytes: int,
    has_kernel_killed: bool = False,
) -> Death:
    """Say what a worker died of.

    Args:
        status: As `os.wait4` gives it.
        last_output: The end of what it wrote.
        peak_bytes: Of resident memory.
        limit_bytes: Of address space that the task was given.
        has_kernel_killed: Whether the kernel's count of processes killed for memory has risen.
    """
    code = os.waitstatus_to_exitcode(status)
    exit_code, number = (code, None) if code >= 0 else (None, -code)
    how = f"exit code {exit_code}" if number is None else _signal_name(number)
    if _is_about_memory(number, last_output, peak_bytes / max(1, limit_bytes), has_kernel_killed):
        return Death(
            TaskOutcome.MEMORY,
            f"out of memory: the worker died ({how}) with {peak_bytes} bytes in RAM, "
            f"{limit_bytes} were allowed",
            exit_code,
            number,
        )
    return Death(TaskOutcome.CRASH, f"the worker died: {how}", exit_code, number)


def _is_about_memory(
    number: int | None, last_output: bytes, used_ratio: float, has_kernel_killed: bool
) -> bool:
    if number is None:
        return False
    if number == signal.SIGKILL:
        return has_kernel_killed or used_ratio >= _NEAR_LIMIT_RATIO
    return used_ratio >= _NEAR_LIMIT_RATIO or bool(_OUT_OF_MEMORY.search(last_output))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
