"""Pools of isolated workers begin, lose processes, take tasks and end; the processes are real."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError, WorkersUnavailable
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskOutcome,
    TaskResult,
)
from batch_assets_tests.execution.isolated_tasks import host_of, is_gone, only, task
from batch_assets_tests.polling import wait_until


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


def test_neighbour_of_a_crash_goes_on(workers: IsolatedWorkers, tmp_path: Path) -> None:
    go = tmp_path / "go"
    neighbour = workers.submit(task("wait_for", str(go)))
    wait_until(lambda: workers.statistics().active == 1, "the neighbour runs")

    assert only(workers, task("die", 1)).outcome is TaskOutcome.CRASH
    go.touch()

    assert (neighbour.result(20).value, neighbour.result().attempts) == ("seen", 1)


def test_idle_workers_that_are_killed_are_replaced(workers: IsolatedWorkers) -> None:
    for worker in host_of(workers).children():
        worker.kill()

    assert [only(workers, task("double", number)).value for number in range(4)] == [0, 2, 4, 6]


def test_host_that_is_killed_is_started_again(workers: IsolatedWorkers, tmp_path: Path) -> None:
    mark, child_file = tmp_path / "mark", tmp_path / "pid"
    tasks = [task("double", number) for number in range(20)]
    tasks.insert(3, task("kill_host_once", str(mark)))
    waiting = workers.submit(task("fork_and_wait", str(child_file)))
    wait_until(child_file.exists, "a task has a child")
    child = int(child_file.read_text())

    results = list(workers.run(tasks))

    assert sorted(str(result.value) for result in results) == sorted(
        ["second attempt", *(str(2 * number) for number in range(20))]
    )
    wait_until(lambda: is_gone(child), "what the killed host left is gone")
    assert waiting.cancel()


def test_task_that_always_kills_the_host_is_a_crash(workers: IsolatedWorkers) -> None:
    result = only(workers, task("kill_host"))

    assert (result.outcome, result.attempts) == (TaskOutcome.CRASH, 2)
    assert "the process that keeps the workers died" in result.error


def test_workers_hold_nothing_of_the_caller(workers: IsolatedWorkers) -> None:
    loaded = only(workers, task("modules")).value

    assert isinstance(loaded, list)
    unwanted = ("dagster", "pydantic", "psycopg", "pytest", "multiprocessing", "psutil")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_tasks_are_taken_when_there_is_room(workers: IsolatedWorkers) -> None:
    taken = 0

    def source() -> Iterator[Task]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield task("double", number)

    most_ahead = 0
    for finished, _ in enumerate(workers.run(source(), in_flight=3), start=1):
        most_ahead = max(most_ahead, taken - finished)

    assert taken == 50
    assert most_ahead <= 3


def test_iterator_that_is_closed_early_ends_what_it_began(workers: IsolatedWorkers) -> None:
    results = workers.run([task("double", 1), task("hang"), task("hang"), task("double", 2)])
    next(results)

    results.close()  # type: ignore[attr-defined]

    wait_until(lambda: workers.statistics().active == 0, "nothing is running")
    assert only(workers, task("double", 1)).value == 2


def test_giving_a_task_never_waits(workers: IsolatedWorkers) -> None:
    host = host_of(workers)
    host.suspend()
    try:
        # Far more than the sockets between the two hold.
        futures = [workers.submit(task("length_of", "x" * 60_000)) for _ in range(40)]
    finally:
        host.resume()

    assert {future.result(20).value for future in futures} == {60_000}


def test_worker_is_replaced_after_its_share_of_tasks(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path, tasks_per_worker=3) as pool:
        pids = [only(pool, task("pid")).value for _ in range(9)]
        statistics = pool.statistics()

    assert len(set(pids)) == 3
    assert (statistics.done, statistics.restarts) == (9, 0)


def test_leaving_the_block_lets_running_tasks_end(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = IsolatedWorkers(workers=1, spool_dir=tmp_path / "spool", stop_seconds=20)
    with pool:
        running = pool.submit(task("wait_for", str(go)))
        waiting = pool.submit(task("double", 1))
        wait_until(lambda: pool.statistics().active == 1, "it runs")
        go.touch()
        started_at = time.monotonic()

    assert time.monotonic() - started_at < 18
    assert running.result(0).value == "seen"
    with pytest.raises(WorkersUnavailable, match="stopped before the task had ended"):
        waiting.result(0)


def test_leaving_the_block_has_a_deadline(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path, stop_seconds=0.3) as pool:
        running = pool.submit(task("hang"))
        wait_until(lambda: pool.statistics().active == 1, "it runs")
        started_at = time.monotonic()

    assert time.monotonic() - started_at < 50
    with pytest.raises(WorkersUnavailable):
        running.result(0)


def test_workers_that_cannot_start_are_no_failure_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ends_on_import.py").write_text(
        "import os, sys; print('no licence', file=sys.stderr, flush=True); os._exit(7)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    spool = tmp_path / "spool"

    with (
        IsolatedWorkers(workers=1, spool_dir=spool, preload=["ends_on_import"]) as pool,
        pytest.raises(WorkersUnavailable, match=r"ended before they were ready.*no licence"),
    ):
        list(pool.run([task("double", 1)]))


def test_folder_of_a_dead_pool_is_swept_by_the_next(tmp_path: Path) -> None:
    abandoned = tmp_path / "pool-of-a-dead-process"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "1-1.result").touch()

    with (
        IsolatedWorkers(workers=1, spool_dir=tmp_path) as first,
        IsolatedWorkers(workers=1, spool_dir=tmp_path) as second,
    ):
        assert {folder.name for folder in tmp_path.iterdir()} == {
            first.folder.name,
            second.folder.name,
        }


_CALLER = """
import sys
from pathlib import Path
from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits
limits = TaskLimits(600, 1 << 28)
with IsolatedWorkers(workers=2, spool_dir=Path(sys.argv[1]), stop_seconds=600) as pool:
    task = Task("batch_assets_tests.execution.workloads:fork_and_hang", sys.argv[2], limits)
    future = pool.submit(task)
    host = pool.submit(Task("batch_assets_tests.execution.workloads:parent", None, limits))
    print(host.result().value, flush=True)
    future.result()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_caller(tmp_path: Path, number: signal.Signals) -> None:
    child_file, spool = tmp_path / "pid", tmp_path / "spool"
    caller = subprocess.Popen(
        [sys.executable, "-c", _CALLER, str(spool), str(child_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with caller:
        try:
            assert caller.stdout is not None
            host = psutil.Process(int(caller.stdout.readline()))
            wait_until(child_file.exists, "the task has a child")
            family = [host.pid, *(p.pid for p in host.children(recursive=True))]
            assert int(child_file.read_text()) in family

            caller.send_signal(number)

            wait_until(lambda: all(map(is_gone, family)), "everything is gone")
            caller.wait(60)
        finally:
            caller.kill()
    left = [file.name for folder in spool.iterdir() for file in folder.iterdir()]
    assert set(left) <= {"lock"}


def test_worker_in_which_a_thread_is_left_is_replaced(workers: IsolatedWorkers) -> None:
    left = only(workers, task("leave_a_thread")).value

    assert isinstance(left, int)
    wait_until(lambda: is_gone(left), "the worker is gone")
