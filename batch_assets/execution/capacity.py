"""What this process may use of the machine: cores and memory.

A container sees all of the machine's cores and memory and may use a part of them; what it may use
stands in its control groups (version 1 or 2), whichever is the lowest on the way to the root.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Version 1 says "no limit" with the largest multiple of the page size; nothing real is near it.
_UNLIMITED_BYTES = 1 << 60

_IO_THREADS_PER_CORE = 5
_IO_THREADS_MOST = 20


@dataclass(frozen=True, slots=True)
class Capacity:
    """What may be used.

    Attributes:
        cpus: Cores; a container's share may be a fraction.
        memory_bytes: RAM.
    """

    cpus: float
    memory_bytes: int


def read_capacity(root: Path = Path("/")) -> Capacity:
    """Read what this process may use.

    Args:
        root: Where /proc and /sys are found.
    """
    cpus = [float(_affinity_cpus()), *_cpu_limits(root)]
    memory = [_machine_memory_bytes(root), *_memory_limits(root)]
    return Capacity(min(cpus), min(memory))


def cpu_worker_count(
    capacity: Capacity, peak_bytes_per_worker: int, override: int | None = None
) -> int:
    """How many worker processes to run: one core is left, and all must fit into memory.

    Args:
        capacity: Of this process.
        peak_bytes_per_worker: The most that one worker needs.
        override: A number that somebody has chosen; it is not questioned.

    Returns:
        At least 1.
    """
    if override is not None:
        return max(1, override)
    by_cpu = max(1, int(capacity.cpus) - 1)
    by_memory = capacity.memory_bytes // max(1, peak_bytes_per_worker)
    return max(1, min(by_cpu, by_memory))


def io_thread_count(capacity: Capacity) -> int:
    """How many threads to wait for files and networks with."""
    return max(1, min(int(_IO_THREADS_PER_CORE * capacity.cpus), _IO_THREADS_MOST))


def _affinity_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine_memory_bytes(root: Path) -> int:
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_limits(root: Path) -> Iterator[float]:
    for folder in group_folders(root, ""):
        quota, _, period = (read_text(folder / "cpu.max") or "").partition(" ")
        yield from _share(quota, period)
    for folder in group_folders(root, "cpu"):
        quota = read_text(folder / "cpu.cfs_quota_us") or ""
        yield from _share(quota, read_text(folder / "cpu.cfs_period_us") or "")


def _memory_limits(root: Path) -> Iterator[int]:
    for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        for folder in group_folders(root, controller):
            text = read_text(folder / name) or ""
            if text.isdigit() and 0 < int(text) < _UNLIMITED_BYTES:
                yield int(text)


def _share(quota: str, period: str) -> Iterator[float]:
    # "max" in version 2 and -1 in version 1 mean that there is no limit.
    if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
        yield int(quota) / int(period)


def group_folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the group of this process and of all groups above it.

    Args:
        root: Where /proc and /sys are found.
        controller: Of version 1; empty for version 2.
    """
    mount = root / "sys/fs/cgroup" / controller
    if not mount.is_dir():
        return
    group = _group_path(root, controller)
    # In a container the path is often that of the host, and the mount shows the group itself.
    yield mount
    for path in (group, *group.parents):
        folder = mount / str(path).lstrip("/")
        if folder != mount and folder.is_dir():
            yield folder


def _group_path(root: Path, controller: str) -> PurePosixPath:
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return PurePosixPath("/")


def read_text(file: Path) -> str | None:
    """What a file says, without space around it; None where it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return file.read_text(encoding="utf-8").strip()
    return None
