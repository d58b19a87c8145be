"""Limits and ties of the calling process, as the kernel keeps them.

Used inside host and worker processes. What a machine may give as a whole is in capacity.py.
"""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_STATM = Path("/proc/self/statm")
_CLEAR_REFS = "/proc/self/clear_refs"
_RESET_PEAK = b"5"  # man 5 proc: sets the peak resident set size to the current one

# With the default of 0 the kernel may choose the parent, which is larger, for what a worker did.
_OOM_SCORE = b"500"

_PAGE_BYTES = resource.getpagesize()


def die_with_parent(parent_pid: int, death_signal: signal.Signals) -> bool:
    """Ask for a signal when the parent dies; False if it is dead already.

    The kernel means the parent's thread that started us: it has to live as long as we shall.
    """
    _prctl(_PR_SET_PDEATHSIG, int(death_signal))
    return os.getppid() == parent_pid


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be ended."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def offer_to_kernel() -> None:
    """Be the first to be killed when memory runs out, before the parent is."""
    with suppress(OSError):
        _write("/proc/self/oom_score_adj", _OOM_SCORE)


def forbid_core_files() -> None:
    """Leave no core file behind: it would be as large as the limit, for each crash."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_memory(memory_bytes: int) -> None:
    """Allow so much address space on top of what is in use now."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = address_space_bytes() + memory_bytes
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def lift_memory_limit() -> None:
    """Allow as much as the process started with."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def address_space_bytes() -> int:
    """Size of the address space in use."""
    return _statm(0)


def resident_bytes() -> int:
    """Memory that is in RAM now."""
    return _statm(1)


def reset_peak() -> None:
    """Let `peak_resident_bytes` start again."""
    with suppress(OSError):
        _write(_CLEAR_REFS, _RESET_PEAK)


def peak_resident_bytes() -> int:
    """The most that was in RAM since the start or the last reset."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _statm(field: int) -> int:
    try:
        return int(_STATM.read_bytes().split()[field]) * _PAGE_BYTES
    except OSError:
        return 0


def _write(file: str, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    # Elsewhere than on Linux the end of the parent is noticed by its closed socket alone.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
