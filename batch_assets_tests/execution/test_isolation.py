"""Whatever a task does, it ends alone; the processes are real."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError, WorkersUnavailable
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskResult,
)
from batch_assets_tests.execution import workloads
from batch_assets_tests.polling import wait_until

LIMITS = TaskLimits(timeout_seconds=20.0, memory_bytes=256 * 1024 * 1024)
SHORT = TaskLimits(timeout_seconds=0.3, memory_bytes=256 * 1024 * 1024)


def task(function: object, argument: object = None, limits: TaskLimits = LIMITS) -> Task:
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    return Task(f"{workloads.__name__}:{name}", argument, limits, key=argument)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedWorkers]:
    """One pool for all tests of tasks: what one of them does must not touch the next."""
    with IsolatedWorkers(workers=2, spool_dir=tmp_path_factory.mktemp("spool")) as pool:
        yield pool
        assert pool.submit(task("double", 21)).result(20).value == 42


def only(pool: IsolatedWorkers, one: Task) -> TaskResult:
    return pool.submit(one).result(30)


def test_every_task_ends_once_whatever_the_others_do(workers: IsolatedWorkers) -> None:
    good = [task("double", number) for number in range(40)]
    bad = [
        task("die", 3),
        task("read_nowhere"),
        task("hang", None, SHORT),
        task("take_memory", 1024**3),
    ]
    mixed = [*good[:10], *bad[:2], *good[10:20], *bad[2:], *good[20:]]

    results = list(workers.run(mixed))

    assert sorted(map(id, (result.task for result in results))) == sorted(map(id, mixed))
    values = [result.value for result in results if result.task.function.endswith("double")]
    assert sorted(map(str, values)) == sorted(str(2 * number) for number in range(40))
    outcomes = {r.task.function.rpartition(":")[2]: str(r.outcome) for r in results}
    assert outcomes == {
        "double": "ok",
        "die": "crash",
        "read_nowhere": "crash",
        "hang": "timeout",
        "take_memory": "memory",
    }


def test_pool_that_was_not_entered_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has not been entered"):
        IsolatedWorkers(workers=1, spool_dir=tmp_path).statistics()
    with pytest.raises(ConfigurationError, match="workers is 0, expected at least 1"):
        IsolatedWorkers(workers=0, spool_dir=tmp_path)


def test_closed_pool_refuses_tasks(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path) as pool:
        future: Future[TaskResult] = pool.submit(task("pid"))
        worker_pid = future.result(20).value
    assert isinstance(worker_pid, int)

    with pytest.raises(WorkersUnavailable, match="open another one"):
        pool.submit(task("pid"))
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not psutil.pid_exists(worker_pid), "the worker is gone")
