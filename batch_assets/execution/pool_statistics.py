"""What the pools of this machine do, for monitoring in another process.

Each pool keeps a small file in its folder; whoever knows the spool folder reads them all.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from batch_assets.execution.spool import list_pool_folders
from batch_assets.execution.tasks import WorkerStatistics

_FILE_NAME = "statistics.json"

# Often enough for a person who watches, and nothing beside the work of a task.
_WRITE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PoolReport:
    """A pool that is open now.

    Attributes:
        pool: Name of its folder.
        pid: Of the process that opened it.
        statistics: About a second old, or as they have been since the last change.
    """

    pool: str
    pid: int
    statistics: WorkerStatistics


class StatisticsFile:
    """Writes the statistics of one pool, at most once a second."""

    def __init__(self, folder: Path, read: Callable[[], WorkerStatistics]) -> None:
        self._file = folder / _FILE_NAME
        self._read = read
        self._written: WorkerStatistics | None = None
        self._written_at = 0.0

    def write_if_due(self) -> float | None:
        """Write what has changed.

        Returns:
            Seconds until a change that is held back will be due; None if there is none.
        """
        now = self._read()
        if now == self._written:
            return None
        wait = self._written_at + _WRITE_SECONDS - time.monotonic()
        if wait > 0:
            return wait
        part = self._file.with_suffix(".part")
        # A full disk ends the tasks that need it; it must not end the pool for its statistics.
        with suppress(OSError):
            part.write_text(json.dumps({"pid": os.getpid(), **asdict(now)}))
            part.replace(self._file)
        self._written, self._written_at = now, time.monotonic()
        return None


def read_pool_reports(spool_dir: Path) -> list[PoolReport]:
    """What the open pools of a spool folder do; pools of dead processes are left out."""
    reports = []
    for folder in list_pool_folders(spool_dir):
        # A pool may be closed, and its folder removed, while we look.
        with suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads((folder / _FILE_NAME).read_text())
            pid = int(content.pop("pid"))
            reports.append(PoolReport(folder.name, pid, WorkerStatistics(**content)))
    return sorted(reports, key=lambda report: report.pool)
