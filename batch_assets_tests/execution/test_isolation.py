"""Whatever a task does, it ends alone; the processes are real."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from batch_assets.errors import ConfigurationError
from batch_assets.execution.framing import INLINE_BYTES
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
)
from batch_assets_tests.execution import workloads
from batch_assets_tests.execution.isolated_tasks import LIMITS, SHORT, is_gone, only, task
from batch_assets_tests.polling import wait_until


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
    wait_until(lambda: is_gone(child), "what the task started is gone")


def test_cancelled_task_is_ended(workers: IsolatedWorkers) -> None:
    future = workers.submit(task("hang"))
    wait_until(lambda: workers.statistics().active == 1, "it runs")

    assert future.cancel()

    wait_until(lambda: workers.statistics().active == 0, "it is forgotten")
    assert only(workers, task("double", 1)).value == 2


def test_caller_stays_flat_over_large_results(workers: IsolatedWorkers) -> None:
    me = psutil.Process()
    list(workers.run(task("text_of", 4_000_000) for _ in range(5)))
    before = me.memory_info().rss

    for result in workers.run(task("text_of", 4_000_000) for _ in range(50)):
        assert len(str(result.value)) == 4_000_000

    assert me.memory_info().rss - before < 40 * 1024**2


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
