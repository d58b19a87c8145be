"""Which process is that, and is it still alive?

A process id alone names whoever has it now. Together with the moment the process started, the
kernel's boot and the pid namespace it names one process for ever, so that a later process of the
same id is never taken for it. What cannot be seen from here (another machine, another container)
is unknown, never dead.
"""

import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import psutil

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_MACHINE_ID = Path("/etc/machine-id")

# Fields of /proc/<pid>/stat after the command name, which may itself contain spaces (man 5 proc).
_STATE_FIELD = 0
_START_TICKS_FIELD = 19

# Ended, but its parent has not asked for the exit status yet.
_ENDED_STATES = ("Z", "X", "x")


class Life(StrEnum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process among all that ever ran.

    Attributes:
        host: Node name.
        machine_id: Of the operating system's installation; empty where there is none.
        boot_id: Of the kernel since it started; empty where it has none.
        pid_namespace: Whose ids these are; empty where there are no namespaces.
        pid: Process id within the namespace.
        process_start: Start of the process as the kernel counts, exact within one boot.
    """

    host: str
    machine_id: str
    boot_id: str
    pid_namespace: str
    pid: int
    process_start: str

    @property
    def name(self) -> str:
        """For a person."""
        return f"process {self.pid} on host {self.host}"


def this_process() -> ProcessIdentity:
    """The identity of the calling process; correct also after a fork."""
    return _identify(os.getpid())


@lru_cache(maxsize=1)
def _identify(pid: int) -> ProcessIdentity:
    return ProcessIdentity(
        host=platform.node(),
        machine_id=_read(_MACHINE_ID),
        boot_id=_read(_BOOT_ID),
        pid_namespace=_pid_namespace(),
        pid=pid,
        process_start=_read_start(pid) or "",
    )


def evaluate_life(process: ProcessIdentity) -> Life:
    """Tell whether a process lives; a stopped one does.

    Dead is only what certainly is: an id nobody has or somebody else has now, in the same pid
    namespace of the same boot; or any process of an earlier boot of this very machine.
    """
    here = this_process()
    if (process.host, process.pid_namespace) != (here.host, here.pid_namespace):
        return Life.UNKNOWN
    if process.boot_id != here.boot_id:
        # Two machines may share a name; only the installation's own id tells a restart from that.
        is_restarted = bool(here.machine_id) and process.machine_id == here.machine_id
        return Life.DEAD if is_restarted else Life.UNKNOWN
    if not psutil.pid_exists(process.pid):
        return Life.DEAD
    start = _read_start(process.pid)
    if start is None or not process.process_start:
        # Either it ended this moment, or /proc hides the processes of other users.
        return Life.ALIVE if psutil.pid_exists(process.pid) else Life.DEAD
    return Life.ALIVE if start == process.process_start else Life.DEAD


def is_running_here(pid: int) -> bool:
    """Whether a process of this id runs on this host, in this pid namespace; a stopped one does."""
    return psutil.pid_exists(pid) and _read_start(pid) != ""


def _read_start(pid: int) -> str | None:
    """When a process started; None if it cannot be seen, empty if it has ended already."""
    try:
        if not _BOOT_ID.exists():
            return f"{psutil.Process(pid).create_time():.3f}"
        # Counted from the boot: unlike a time of day it does not move when the clock is set.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, psutil.Error):
        return None
    return "" if fields[_STATE_FIELD] in _ENDED_STATES else fields[_START_TICKS_FIELD]


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
