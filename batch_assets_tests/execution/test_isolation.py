"""Whatever a task does, it ends alone; the processes are real."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError, WorkersUnavailable
from batch_assets.execution.framing import INLINE_BYTES
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
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


def test_error_of_a_task_is_told_with_type_and_place(workers: IsolatedWorkers) -> None:
    result = only(workers, task("fail", "no such sheet"))

    assert (result.outcome, result.value) == (TaskOutcome.ERROR, None)
    assert result.error == "ValueError: no such sheet"
    assert "in fail" in result.details
    assert result.attempts == 1


def test_task_that_leaves_the_interpreter_fails_alone(workers: IsolatedWorkers) -> None:
    result = only(workers, task("leave", 3))

    assert (result.outcome, result.error) == (TaskOutcome.ERROR, "SystemExit: 3")


@pytest.mark.parametrize(
    ("function", "argument", "exit_code", "ended_by"),
    [
        ("die", 3, 3, None),
        ("read_nowhere", None, None, signal.SIGSEGV),
        ("kill_oneself", signal.SIGKILL, None, signal.SIGKILL),
        ("kill_oneself", signal.SIGTERM, None, signal.SIGTERM),
        ("kill_group", None, None, signal.SIGKILL),
        ("close_everything", None, None, signal.SIGKILL),
    ],
)
def test_crash_is_tried_again_once(
    workers: IsolatedWorkers,
    function: str,
    argument: object,
    exit_code: int | None,
    ended_by: int | None,
) -> None:
    result = only(workers, task(function, argument))

    assert result.outcome is TaskOutcome.CRASH
    assert (result.attempts, result.exit_code, result.signal) == (2, exit_code, ended_by)
    assert result.error.startswith("the worker died: ")


def test_crash_tells_the_place_in_python(workers: IsolatedWorkers) -> None:
    assert "in read_nowhere" in only(workers, task("read_nowhere")).details


def test_second_attempt_counts(workers: IsolatedWorkers, tmp_path: Path) -> None:
    result = only(workers, task("crash_once", str(tmp_path / "mark")))

    assert (result.outcome, result.value) == (TaskOutcome.OK, "second attempt")
    assert result.attempts == 2


@pytest.mark.parametrize("function", ["hang", "hang_in_c"])
def test_hanging_task_is_ended_and_not_tried_again(workers: IsolatedWorkers, function: str) -> None:
    before = workers.statistics().restarts

    result = only(workers, task(function, None, SHORT))

    assert (result.outcome, result.attempts) == (TaskOutcome.TIMEOUT, 1)
    assert result.error == "not done within 0.3 s; its process was ended"
    assert result.seconds >= 0.3
    assert workers.statistics().restarts == before + 1


def test_deadline_counts_from_the_worker_not_from_the_queue(
    workers: IsolatedWorkers, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    first = [workers.submit(task("wait_for", str(go))) for _ in range(2)]
    late = workers.submit(task("double", 4, SHORT))
    waited = time.monotonic() + 2 * SHORT.timeout_seconds
    wait_until(lambda: time.monotonic() > waited, "longer than the deadline")

    assert workers.statistics().active == 2
    assert workers.statistics().queued == 1
    go.touch()

    assert late.result(20).value == 8
    assert [future.result(20).value for future in first] == ["seen", "seen"]


@pytest.mark.parametrize("function", ["take_memory", "abort_like_rust"])
def test_wanting_too_much_memory_is_no_crash(workers: IsolatedWorkers, function: str) -> None:
    result = only(workers, task(function, 1024**3))

    assert (result.outcome, result.attempts) == (TaskOutcome.MEMORY, 1)
    assert str(LIMITS.memory_bytes) in result.error


def test_imports_of_the_module_are_not_the_memory_of_the_task(workers: IsolatedWorkers) -> None:
    little = TaskLimits(timeout_seconds=20, memory_bytes=16 * 1024 * 1024)

    assert only(workers, task("take_memory", 4 * 1024**2, little)).value == 4 * 1024**2
    assert only(workers, task("take_memory", 64 * 1024**2, little)).outcome is TaskOutcome.MEMORY


def test_peak_memory_is_that_of_the_task(workers: IsolatedWorkers) -> None:
    much = only(workers, task("fill_memory", 100 * 1024**2))
    little = only(workers, task("double", 1))

    assert much.peak_memory_bytes > 100 * 1024**2 > little.peak_memory_bytes > 0
    assert workers.statistics().peak_memory_bytes >= much.peak_memory_bytes


def test_noise_of_a_parser_does_not_reach_the_messages(workers: IsolatedWorkers) -> None:
    assert only(workers, task("make_noise", 5_000_000)).value == "done"


def test_large_values_travel_as_files_that_do_not_stay(workers: IsolatedWorkers) -> None:
    result = only(workers, task("echo", "x" * 3_000_000))

    assert result.value == "x" * 3_000_000
    assert {file.name for file in workers.folder.iterdir()} <= {
        "lock",
        "host.log",
        "statistics.json",
    }


def test_values_around_the_size_of_a_message_arrive(workers: IsolatedWorkers) -> None:
    sizes = [INLINE_BYTES + step for step in (-40, -20, -1, 0, 1, 20)]

    results = workers.run([task("echo", b"x" * size) for size in sizes])

    assert sorted(len(result.value) for result in results) == sizes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "argument", "said"),
    [
        ("return_lambda", None, "cannot be sent back"),
        ("return_unreadable", None, "the result cannot be read: ValueError: cannot be read"),
        ("double", lambda: None, "the argument cannot be sent to a worker"),
        ("double", workloads.Unreadable(), "cannot be read in the worker"),
        ("no_such_function", None, "cannot be imported: AttributeError"),
        ("os", None, "is module, expected a function"),
        ("nested:name", None, "cannot be imported"),
    ],
)
def test_what_cannot_be_moved_is_an_error_that_says_so(
    workers: IsolatedWorkers, function: str, argument: object, said: str
) -> None:
    result = only(workers, task(function, argument))

    assert (result.outcome, result.attempts) == (TaskOutcome.ERROR, 1)
    assert said in result.error


def test_module_that_cannot_be_imported_is_an_error(workers: IsolatedWorkers) -> None:
    result = only(workers, Task("no_such_package.module:function", None, LIMITS))

    assert result.outcome is TaskOutcome.ERROR
    assert "no_such_package.module:function cannot be imported: ModuleNotFound" in result.error


@pytest.mark.parametrize("function", ["fork_and_hang", "leave_a_child", "leave_a_daemon"])
def test_what_a_task_started_ends_with_it(
    workers: IsolatedWorkers, tmp_path: Path, function: str
) -> None:
    file = tmp_path / "pid"
    limits = replace(SHORT, timeout_seconds=2.0)

    result = only(workers, task(function, str(file), limits))

    child = int(file.read_text())
    assert result.outcome is (
        TaskOutcome.TIMEOUT if function == "fork_and_hang" else TaskOutcome.OK
    )
    wait_until(lambda: is_gone(child), "what the task started is gone", 5)


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
    wait_until(lambda: is_gone(child), "what the killed host left is gone", 5)
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


def test_cancelled_task_is_ended(workers: IsolatedWorkers) -> None:
    future = workers.submit(task("hang"))
    wait_until(lambda: workers.statistics().active == 1, "it runs")

    assert future.cancel()

    wait_until(lambda: workers.statistics().active == 0, "it is forgotten")
    assert only(workers, task("double", 1)).value == 2


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


def test_caller_stays_flat_over_large_results(workers: IsolatedWorkers) -> None:
    me = psutil.Process()
    list(workers.run(task("text_of", 4_000_000) for _ in range(5)))
    before = me.memory_info().rss

    for result in workers.run(task("text_of", 4_000_000) for _ in range(50)):
        assert len(str(result.value)) == 4_000_000

    assert me.memory_info().rss - before < 40 * 1024**2


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

    assert time.monotonic() - started_at < 10
    assert running.result(0).value == "seen"
    with pytest.raises(WorkersUnavailable, match="stopped before the task had ended"):
        waiting.result(0)


def test_leaving_the_block_has_a_deadline(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path, stop_seconds=0.3) as pool:
        running = pool.submit(task("hang"))
        wait_until(lambda: pool.statistics().active == 1, "it runs")
        started_at = time.monotonic()

    assert time.monotonic() - started_at < 5
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
        assert caller.stdout is not None
        host = psutil.Process(int(caller.stdout.readline()))
        wait_until(child_file.exists, "the task has a child")
        family = [host.pid, *(p.pid for p in host.children(recursive=True))]
        assert int(child_file.read_text()) in family

        caller.send_signal(number)

        wait_until(lambda: all(map(is_gone, family)), "everything is gone", 10)
        caller.wait(10)
    left = [file.name for folder in spool.iterdir() for file in folder.iterdir()]
    assert set(left) <= {"lock"}


def test_worker_in_which_a_thread_is_left_is_replaced(workers: IsolatedWorkers) -> None:
    left = only(workers, task("leave_a_thread")).value

    assert isinstance(left, int)
    wait_until(lambda: is_gone(left), "the worker is gone", 5)


def test_message_of_any_length_is_cut(workers: IsolatedWorkers) -> None:
    result = only(workers, task("fail_at_length", 20_000_000))

    assert result.error.startswith("ValueError: xxx")
    assert len(result.error) < 5_000
    assert len(result.details) < 10_000


@pytest.mark.parametrize(("seconds", "size"), [(0, 1), (-1, 1), (float("inf"), 1), (1, 0)])
def test_limits_that_mean_nothing_are_refused(seconds: float, size: int) -> None:
    with pytest.raises(ConfigurationError, match="expected finite numbers above zero"):
        TaskLimits(seconds, size)


def test_deadline_may_be_weeks_away(workers: IsolatedWorkers) -> None:
    weeks = TaskLimits(timeout_seconds=1e8, memory_bytes=LIMITS.memory_bytes)

    assert only(workers, task("double", 1, weeks)).value == 2
