"""Workers are forked from a process that has imported what they need."""

import ctypes
import os
from pathlib import Path

import psutil
import pytest

from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits
from batch_assets.execution.worker import CONTROL_DESCRIPTOR
from batch_assets_tests.execution import workloads
from batch_assets_tests.polling import wait_until

LIMITS = TaskLimits(timeout_seconds=20.0, memory_bytes=256 * 1024 * 1024)
_PIDFD_GETFD = 438  # the same number on every architecture, as of all later system calls
_COUNTS_ITS_IMPORTS = """
from pathlib import Path
import os
def imported_by(_):
    return IMPORTER
IMPORTER = os.getpid()
with Path({file!r}).open("a") as file:
    file.write("imported\\n")
"""
_STARTS_A_THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


def call(pool: IsolatedWorkers, function: str, argument: object = None) -> object:
    name = function if ":" in function else f"{workloads.__name__}:{function}"
    return pool.submit(Task(name, argument, LIMITS)).result(30).value


def write_module(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    imports = folder / f"{name}.imports"
    (folder / f"{name}.py").write_text(
        _COUNTS_ITS_IMPORTS.format(file=str(imports)) + text, encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(folder))
    return imports


def template_of(pool: IsolatedWorkers) -> psutil.Process:
    host = psutil.Process(int(str(call(pool, "parent"))))
    wait_until(lambda: len(templates_of(host)) == 1, "there is one template")
    return templates_of(host)[0]


def templates_of(host: psutil.Process) -> list[psutil.Process]:
    return [child for child in host.children() if is_template(child)]


def is_template(process: psutil.Process) -> bool:
    # A fork shows the mark that was written over that of the template.
    try:
        return process.environ().get("BATCH_ASSETS_WORKER", "").endswith(".00000000")
    except psutil.Error:
        return False


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def copy_descriptor(pid: int, descriptor: int) -> int:
    """A copy of what another process holds open, in this one: pidfd_getfd of Linux 5.6."""
    process = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if copy < 0:
        pytest.skip(f"copying a descriptor is not allowed here: {os.strerror(ctypes.get_errno())}")
    return int(copy)


def test_modules_are_imported_once_however_many_workers_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = write_module(tmp_path, "heavy_module", "", monkeypatch)
    with IsolatedWorkers(
        workers=2, spool_dir=tmp_path / "spool", tasks_per_worker=1, preload=["heavy_module"]
    ) as pool:
        importers = {call(pool, "heavy_module:imported_by") for _ in range(5)}
        pids = {call(pool, "pid") for _ in range(5)}

    assert len(importers) == 1
    assert len(pids) == 5
    assert importers.isdisjoint(pids)
    assert imports.read_text() == "imported\n"


def test_modules_that_start_threads_are_imported_by_each_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = write_module(tmp_path, "threaded_module", _STARTS_A_THREAD, monkeypatch)
    with IsolatedWorkers(
        workers=1, spool_dir=tmp_path / "spool", tasks_per_worker=1, preload=["threaded_module"]
    ) as pool:
        importers = {call(pool, "threaded_module:imported_by") for _ in range(3)}

    assert len(importers) == 3
    assert imports.read_text().count("imported") >= 3


def test_template_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path, tasks_per_worker=1) as pool:
        killed = template_of(pool)
        killed.kill()
        wait_until(lambda: not killed.is_running(), "the template is gone")

        assert [call(pool, "double", number) for number in range(6)] == [0, 2, 4, 6, 8, 10]
        assert template_of(pool).pid != killed.pid
        assert pool.statistics().restarts == 0


def test_template_whose_link_outlives_it_is_buried(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spool_dir=tmp_path) as pool:
        killed = template_of(pool)
        # As a fork does that was just born and has no channels of its own yet.
        held_open = copy_descriptor(killed.pid, CONTROL_DESCRIPTOR)
        killed.kill()
        wait_until(lambda: has_ended(killed), "the template has ended")
        # The host has been told of the end, and has been through a turn since.
        assert [call(pool, "double", number) for number in (1, 2)] == [2, 4]
        os.close(held_open)

        wait_until(lambda: not psutil.pid_exists(killed.pid), "the template is buried")


def test_stopped_template_leaves_the_workers_that_are_there(tmp_path: Path) -> None:
    with IsolatedWorkers(workers=1, spare_workers=0, spool_dir=tmp_path) as pool:
        template = template_of(pool)
        template.suspend()
        try:
            assert call(pool, "double", 3) == 6
        finally:
            template.resume()


def test_what_a_task_forked_ends_with_its_worker(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with IsolatedWorkers(workers=1, spool_dir=tmp_path / "spool") as pool:
        assert call(pool, "fork_a_daemon", str(file)) == "left"
        wait_until(file.exists, "the daemon tells its process id")
        daemon = int(file.read_text())

        wait_until(lambda: not psutil.pid_exists(daemon), "the daemon is gone")
        assert call(pool, "double", 3) == 6
