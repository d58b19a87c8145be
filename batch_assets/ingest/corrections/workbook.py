"""A corrected workbook, read by a worker: its answers wait in a spool, in their order."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psycopg

from batch_assets.execution.isolation import IsolatedWorkers, Task, TaskLimits
from batch_assets.ingest.spreadsheets.deliveries import check_result, result_of
from batch_assets.loading.replay import ReplayReport
from batch_assets.sources.spreadsheets.answers import Answer, AnswersRequest, stream_answers

_READ = "batch_assets.sources.spreadsheets.answers:read_answers"
# A workbook that was written holds text alone, row by row; see READ_LIMITS of spreadsheets.
_READ_LIMITS = TaskLimits(timeout_seconds=900.0, memory_bytes=2 * 1024**3)
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class WorkbookReplay:
    """What became of a corrected workbook, over all of its windows.

    Attributes:
        replays: One for each window that had something to answer.
        answered: Rows that were answered in the same way before; nothing happened to them.
        error_workbooks: What is still wrong, to be corrected again.
    """

    file: str
    replays: tuple[ReplayReport, ...] = ()
    answered: int = 0
    error_workbooks: tuple[Path, ...] = ()

    @property
    def fixed(self) -> int:
        """Rows that are loaded now."""
        return sum(report.fixed for report in self.replays)

    @property
    def dropped(self) -> int:
        """Rows that were discarded."""
        return sum(report.dropped for report in self.replays)

    @property
    def refused(self) -> int:
        """Rows that are still wrong."""
        return sum(report.refused for report in self.replays)


@dataclass(frozen=True, slots=True)
class CorrectedWorkbook:
    """A workbook that was read, and where its answers wait.

    Attributes:
        template: Name that the workbook gives; empty if it gives none.
        spool: Answers as lines.
    """

    file: str
    template: str
    spool: Path

    def batches(self) -> Iterator[list[Answer]]:
        """Answers in the order of the workbook, a thousand at a time."""
        answers = stream_answers(self.spool)
        while batch := list(islice(answers, _BATCH)):
            yield batch

    def find_target(self, conn: psycopg.Connection) -> str:
        """The table that the first row belongs to; empty where this database has no such row."""
        first = next(stream_answers(self.spool), None)
        row = conn.execute(
            "SELECT target FROM ops.dead_letters WHERE dead_letter_id = %s",
            (first.dead_letter_id if first else None,),
        ).fetchone()
        return str(row[0]) if row else ""


def read_corrected(
    workers: IsolatedWorkers, path: Path, folder: Path, *, limits: TaskLimits = _READ_LIMITS
) -> CorrectedWorkbook:
    """Have a corrected workbook read.

    Args:
        workers: One of them reads.
        path: The workbook; delimited text of the same columns does too.
        folder: Where the answers wait.
        limits: What reading may use.

    Raises:
        UnreadableSource: It cannot be read, or is no error workbook.
    """
    spool = folder / "answers"
    request = AnswersRequest(path, path.name, spool)
    result = result_of(workers.submit(Task(_READ, request, limits)).result(), path.name)
    check_result(result)
    return CorrectedWorkbook(path.name, next(iter(result.warnings), ""), spool)
