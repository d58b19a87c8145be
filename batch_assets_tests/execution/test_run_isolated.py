"""The public function for users' own code, and the examples that describe it."""

import os
import re
import time
from pathlib import Path

import pytest

from batch_assets.errors import (
    ConfigurationError,
    IsolatedTaskFailed,
    TaskCrashed,
    TaskOutOfMemory,
    TaskTimedOut,
)
from batch_assets.execution.isolation import IsolatedWorkers, function_name, run_isolated
from batch_assets.settings import current_settings
from batch_assets_tests.execution import workloads

PAGE = Path(__file__).resolve().parents[2] / "docs" / "run-your-own-code.md"
MEMORY = 256 * 1024 * 1024


def test_value_comes_from_another_process(tmp_path: Path) -> None:
    pid = run_isolated(workloads.pid, timeout_seconds=20, memory_bytes=MEMORY, spool_dir=tmp_path)

    assert pid != os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_arguments_arrive_one_by_one(tmp_path: Path) -> None:
    total = run_isolated(
        workloads.add, 2, 3, timeout_seconds=20, memory_bytes=MEMORY, spool_dir=tmp_path
    )

    assert total == 5


@pytest.mark.parametrize(
    ("function", "argument", "seconds", "expected", "said"),
    [
        (workloads.fail, "bad", 20, IsolatedTaskFailed, "ended with error: ValueError: bad"),
        (workloads.hang, None, 0.2, TaskTimedOut, "give it more time"),
        (workloads.take_memory, 1024**3, 20, TaskOutOfMemory, "give it more memory"),
        (workloads.die, 3, 20, TaskCrashed, "exit code 3"),
    ],
)
def test_each_end_has_an_error_of_its_own(
    tmp_path: Path,
    function: object,
    argument: object,
    seconds: float,
    expected: type[IsolatedTaskFailed],
    said: str,
) -> None:
    with (
        IsolatedWorkers(workers=1, spare_workers=0, spool_dir=tmp_path) as workers,
        pytest.raises(expected, match=said) as raised,
    ):
        run_isolated(
            function,  # type: ignore[arg-type]
            argument,
            timeout_seconds=seconds,
            memory_bytes=MEMORY,
            spool_dir=tmp_path,
            workers=workers,
        )
    assert type(raised.value) is expected
    assert not raised.value.retryable


def test_failure_does_not_wait_for_the_end_of_the_pool(tmp_path: Path) -> None:
    started_at = time.monotonic()

    with pytest.raises(TaskTimedOut):
        run_isolated(workloads.hang, timeout_seconds=0.2, memory_bytes=MEMORY, spool_dir=tmp_path)

    assert time.monotonic() - started_at < 9.5


def test_function_that_a_new_process_cannot_find_is_refused_at_once() -> None:
    def inner() -> None:
        return None

    for function in (inner, lambda: None):
        with pytest.raises(ConfigurationError, match="move it to a module"):
            function_name(function)
    assert function_name(os.path.join) == "posixpath:join"


def test_examples_of_the_page_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "reports.py").write_text("def count_words(text):\n    return len(text.split())\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    current_settings.cache_clear()

    try:
        for example in examples:
            exec(example, names)
    finally:
        current_settings.cache_clear()

    assert len(examples) == 2
    assert names["words"] == 2
    assert names["counts"] == {"one": 1, "two words": 2, "three more words": 3}
