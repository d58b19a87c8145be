"""Processes that tasks leave behind, found by the host after the worker is gone.

The kernel hands them to the host (`process_limits.adopt_orphans`), also those that have left the
worker's process group. A mark in the environment tells which worker they come from.
"""

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

MARK = "BATCH_ASSETS_WORKER"

_VMSTAT = Path("/proc/vmstat")


def list_orphans(worker_pids: Collection[int]) -> list[int]:
    """Children of this process that are none of its workers."""
    try:
        # Of the main thread, and the host has no other.
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [pid for pid in map(int, children.split()) if pid not in worker_pids]


def has_orphans(worker_pids: Collection[int], mark: str) -> bool:
    """Whether a worker's tasks have left processes that are no children of it any more."""
    return any(read_mark(pid) == mark for pid in list_orphans(worker_pids))


def end_orphans(worker_pids: Collection[int], living_marks: Collection[str]) -> None:
    """End what no living worker has left behind, and forget what has ended."""
    for pid in list_orphans(worker_pids):
        if read_mark(pid) in living_marks:
            continue
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        # One that needs longer to die is met again: its end wakes the host.
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def read_mark(pid: int) -> str | None:
    """Which worker a process comes from; None if it does not tell."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{MARK}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def list_marked(mark_prefix: str) -> Iterator[int]:
    """Every process of this machine whose mark begins so."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (read_mark(int(entry.name)) or "").startswith(mark_prefix):
            yield int(entry.name)


def read_kernel_kills() -> int:
    """How many processes the kernel has killed for memory since it started."""
    with suppress(OSError, ValueError):
        for line in _VMSTAT.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
