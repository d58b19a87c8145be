"""Documents through worker processes, with all the processor time that takes.

Also a batch with poison: files of which some make their reader die, hang or eat memory.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
    TaskResult,
)
from batch_assets.ingest.documents.read import PARSE_TASK
from batch_assets.sources.documents.parse import ParseReply, ParseRequest

MIBIBYTE = 1024 * 1024
LIMITS = TaskLimits(timeout_seconds=60, memory_bytes=1024 * MIBIBYTE)

# Of the batch with poison; hanging files cost their deadline, which is subtracted.
DEADLINE_SECONDS = 2.0
POISON_LIMITS = TaskLimits(DEADLINE_SECONDS, 256 * MIBIBYTE)
POISON_TASK = "benchmarks.documents_poison:parse_or_die"
REFUSED_KINDS = ("memory", "corrupt", "bomb")
POISON_KINDS = ("crash", "hang", *REFUSED_KINDS)


@dataclass(frozen=True, slots=True)
class PoolRun:
    """What one batch took, in all of our processes."""

    seconds: float
    cpu_seconds: float
    outcomes: Counter[str]
    pages: int


class PoolMeter:
    """Processor time of this process, the host of its pool and all workers so far."""

    def __init__(self) -> None:
        """Look at the processes that are there now; the pool has been entered."""
        self._own = psutil.Process()
        self._before = self.cpu_seconds()
        self._started = time.perf_counter()

    def cpu_seconds(self) -> float:
        """So far: of processes that live, and of those that have ended and were waited for."""
        own = self._own.cpu_times()
        total = own.user + own.system
        for host in self._own.children():
            if not _is_host(host):
                continue
            # Below the host everything is ours, also what has ended and was not waited for yet.
            for process in (host, *host.children(recursive=True)):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue  # ended since it was listed; the host has its time by now
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def spent(self) -> tuple[float, float]:
        """Seconds and processor seconds since the beginning."""
        return time.perf_counter() - self._started, self.cpu_seconds() - self._before


def _is_host(process: psutil.Process) -> bool:
    try:
        return "batch_assets.execution.host" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def write_poison(
    folder: Path, count: int, bomb: bytes, *, kinds: Sequence[str] = POISON_KINDS
) -> list[Path]:
    """As many poisonous files, of each kind in turn."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        path = folder / f"{kind}-{number}.{'docx' if kind == 'bomb' else 'pdf'}"
        path.write_bytes(bomb if kind == "bomb" else b"%PDF-1.7 and no more")
        paths.append(path)
    return paths


def run_pool(
    workers: IsolatedWorkers,
    paths: Sequence[Path],
    *,
    function: str = PARSE_TASK,
    limits: TaskLimits = LIMITS,
) -> PoolRun:
    """Read files; the workers are warm."""
    meter = PoolMeter()
    outcomes: Counter[str] = Counter()
    pages = 0
    tasks = (Task(function, ParseRequest(str(path)), limits) for path in paths)
    for result in workers.run(tasks):
        outcomes[outcome_of(result)] += 1
        if isinstance(result.value, ParseReply) and result.value.document is not None:
            pages += len(result.value.document.segments)
    seconds, cpu_seconds = meter.spent()
    return PoolRun(seconds, cpu_seconds, outcomes, pages)


def outcome_of(result: TaskResult) -> str:
    """What the batch would record of a file."""
    if result.outcome is TaskOutcome.OK and isinstance(result.value, ParseReply):
        return result.value.outcome.value
    return result.outcome.value
