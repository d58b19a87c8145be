import os
from pathlib import Path

from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits
from batch_assets.execution.pool_statistics import read_pool_reports
from batch_assets_tests.execution import workloads
from batch_assets_tests.polling import wait_until

LIMITS = TaskLimits(timeout_seconds=20, memory_bytes=256 * 1024 * 1024)


def test_open_pools_are_seen_from_outside_and_closed_ones_are_not(tmp_path: Path) -> None:
    spool, go = tmp_path / "spool", tmp_path / "go"
    assert read_pool_reports(spool) == []

    with IsolatedWorkers(workers=1, spool_dir=spool, stop_seconds=20) as pool:
        for number in range(3):
            pool.submit(Task(f"{workloads.__name__}:double", number, LIMITS)).result(20)
        pool.submit(Task(f"{workloads.__name__}:die", 1, LIMITS)).result(20)
        for _ in range(2):
            pool.submit(Task(f"{workloads.__name__}:wait_for", str(go), LIMITS))
        wait_until(lambda: seen(spool) == (1, 1, 3, 1), "what it does now is reported")
        (report,) = read_pool_reports(spool)

        assert (report.pool, report.pid) == (pool.folder.name, os.getpid())
        assert report.statistics == pool.statistics()
        assert report.statistics.restarts == 2  # both attempts
        go.touch()

    assert read_pool_reports(spool) == []


def test_pool_of_a_dead_process_is_not_reported(tmp_path: Path) -> None:
    folder = tmp_path / "pool-of-a-dead-process"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "statistics.json").write_text("{}")

    assert read_pool_reports(tmp_path) == []


def seen(spool: Path) -> tuple[int, int, int, int] | None:
    for report in read_pool_reports(spool):
        now = report.statistics
        return (now.active, now.queued, now.done, now.failed)
    return None
