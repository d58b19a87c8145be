"""Tasks of `workloads` with limits, and what tests ask about the processes that run them."""

import psutil

from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskResult,
)
from batch_assets_tests.execution import workloads

LIMITS = TaskLimits(timeout_seconds=20.0, memory_bytes=256 * 1024 * 1024)


SHORT = TaskLimits(timeout_seconds=0.3, memory_bytes=256 * 1024 * 1024)


def task(function: object, argument: object = None, limits: TaskLimits = LIMITS) -> Task:
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    return Task(f"{workloads.__name__}:{name}", argument, limits, key=argument)


def only(pool: IsolatedWorkers, one: Task) -> TaskResult:
    return pool.submit(one).result(30)


def is_gone(pid: int) -> bool:
    """Ended, or only waiting to be forgotten by whoever started it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def host_of(pool: IsolatedWorkers) -> psutil.Process:
    host = psutil.Process(only(pool, task("parent")).value)
    assert host.pid != psutil.Process().pid
    return host
