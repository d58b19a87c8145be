"""What an isolated task is given and what comes back.

Values alone: the pool is in isolation.py, the processes behind it in host.py and worker.py.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from batch_assets.errors import ConfigurationError


class TaskOutcome(StrEnum):
    """How a task ended; every task ends in exactly one way."""

    OK = "ok"
    ERROR = "error"  # it raised, or its function, argument or result cannot be moved
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"  # its process died, and died again in a fresh one


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """What one task may use.

    Attributes:
        timeout_seconds: From the moment a worker receives the task; waiting is not counted.
        memory_bytes: Address space on top of what the worker has once the task's module is
            imported. Imports made within the function count, those of its module do not.
    """

    timeout_seconds: float
    memory_bytes: int

    def __post_init__(self) -> None:
        """Refuse limits that mean nothing.

        Raises:
            ConfigurationError: One is not above zero, or there is no deadline.
        """
        if not (0 < self.timeout_seconds < math.inf and self.memory_bytes > 0):
            raise ConfigurationError(
                f"the limits of a task are {self.timeout_seconds} s and {self.memory_bytes} bytes, "
                "expected finite numbers above zero; set both"
            )


@dataclass(frozen=True, slots=True)
class Task:
    """One call of one function in a worker process.

    Attributes:
        function: "package.module:function", imported in the worker.
        argument: Its one argument; anything that can be pickled, best something small.
        limits: What it may use.
        key: The caller's name for it; stays in the caller's process.
        is_spread: Whether the argument is a tuple of positional arguments.
    """

    function: str
    argument: object
    limits: TaskLimits
    key: object = None
    is_spread: bool = False


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The end of a task.

    Attributes:
        task: As it was given.
        outcome: How it ended.
        value: What the function returned; None unless the outcome is ok.
        error: Type and message, or what became of the process; empty if the outcome is ok.
        details: Traceback or the last output of the process, for a person; may be empty.
        seconds: The last attempt took.
        peak_memory_bytes: Resident memory of the worker at its highest, imports included.
        attempts: 1, or 2 if it was tried again after a crash.
        exit_code: Of a process that ended by itself; None if it did not.
        signal: That ended the process; None if none did.
    """

    task: Task
    outcome: TaskOutcome
    value: object | None = None
    error: str = ""
    details: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    attempts: int = 1
    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """What a pool has done since it was opened, and does now.

    Attributes:
        workers: Tasks it may run at once.
        active: Tasks in a worker now.
        queued: Tasks waiting for one.
        done: Tasks that ended well.
        failed: Tasks that ended otherwise.
        restarts: Processes replaced after a crash or a deadline; recycled ones are not counted.
        peak_memory_bytes: The highest of any task.
    """

    workers: int
    active: int
    queued: int
    done: int
    failed: int
    restarts: int
    peak_memory_bytes: int
