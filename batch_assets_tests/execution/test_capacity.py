import os
from pathlib import Path

import pytest

from batch_assets.execution.capacity import (
    Capacity,
    cpu_worker_count,
    io_thread_count,
    read_capacity,
)

GIB = 1024**3


def machine(root: Path, files: dict[str, str]) -> Path:
    """A root with 64 GiB, and whatever files the control groups have."""
    for name, text in {"proc/meminfo": f"MemTotal: {64 * 1024**2} kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_machine_without_limits_is_ours_as_far_as_the_scheduler_lets_us(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))

    assert read_capacity(machine(tmp_path, {})) == Capacity(cores, 64 * GIB)


def test_this_machine_has_something() -> None:
    capacity = read_capacity()

    assert 0 < capacity.cpus <= (os.cpu_count() or 1)
    assert capacity.memory_bytes > 64 * 1024**2


def test_lowest_limit_on_the_way_to_the_root_holds(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/ours\n",
            "sys/fs/cgroup/pods/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/pods/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/pods/ours/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pods/ours/memory.max": f"{2 * GIB}\n",
        },
    )

    assert read_capacity(root) == Capacity(0.5, 2 * GIB)


def test_container_that_shows_its_group_as_the_mount_is_read(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/docker/0123\n",
            "sys/fs/cgroup/cpu.max": "75000 100000\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
        },
    )

    assert read_capacity(root) == Capacity(0.75, GIB)


def test_limits_of_version_1_hold(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/ours\n2:cpu,cpuacct:/ours\n1:name=systemd:/\n",
            "sys/fs/cgroup/cpu/ours/cpu.cfs_quota_us": "30000\n",
            "sys/fs/cgroup/cpu/ours/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/ours/memory.limit_in_bytes": f"{3 * GIB}\n",
        },
    )

    assert read_capacity(root) == Capacity(0.3, 3 * GIB)


@pytest.mark.parametrize("text", ["-1", "max", "", "nonsense"])
def test_what_is_no_limit_is_none(tmp_path: Path, text: str) -> None:
    root = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/cpu.max": f"{text} 100000\n",
            "sys/fs/cgroup/memory.max": text,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": text,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": text,
        },
    )

    assert read_capacity(root).memory_bytes == 64 * GIB


@pytest.mark.parametrize(
    ("cpus", "memory_gib", "override", "expected"),
    [
        (16, 64, None, 15),
        (8, 64, None, 7),
        (2, 64, None, 1),
        (0.5, 64, None, 1),
        (16, 4, None, 4),
        (16, 0.5, None, 1),
        (16, 64, 3, 3),
        (2, 1, 8, 8),
    ],
)
def test_workers_leave_a_core_and_fit_into_memory(
    cpus: float, memory_gib: float, override: int | None, expected: int
) -> None:
    capacity = Capacity(cpus, int(memory_gib * GIB))

    assert cpu_worker_count(capacity, GIB, override) == expected


@pytest.mark.parametrize(("cpus", "expected"), [(0.1, 1), (1, 5), (2.5, 12), (4, 20), (64, 20)])
def test_threads_that_wait_are_five_for_each_core_up_to_twenty(cpus: float, expected: int) -> None:
    assert io_thread_count(Capacity(cpus, GIB)) == expected
