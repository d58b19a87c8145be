"""Our side: workbooks to committed rows through isolated workers, and the processes' memory."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psutil
import psycopg

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.spreadsheets.load import PRELOAD, load_workbook_files, options_of
from batch_assets.loading.report import LoadState
from batch_assets.settings import LoadingSettings
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate
from benchmarks.heartbeat import Delays
from benchmarks.measure import MIBIBYTE, Cost, measure
from benchmarks.spreadsheet_files import Book

DAY = date(2024, 9, 30)
_WORKERS_MODULE = "batch_assets.execution"
_SAMPLE_SECONDS = 0.05


@contextmanager
def open_pool(folder: Path, workers: int) -> Iterator[IsolatedWorkers]:
    """A pool that has read something, so that its start is not counted."""
    with IsolatedWorkers(workers=workers, spool_dir=folder, preload=PRELOAD) as pool:
        yield pool


@dataclass(frozen=True, slots=True)
class LoadCost:
    """What one load took: the cost as usual, and processor time of the workers."""

    cost: Cost
    worker_cpu_seconds: float


@dataclass(slots=True)
class SpreadsheetLoads:
    """Loads into empty tables on one server."""

    connect: Callable[[], psycopg.Connection]
    admin: psycopg.Connection
    postmaster: psutil.Process | None
    workers: IsolatedWorkers
    delays: Delays

    def load(
        self, template: SpreadsheetTemplate, books: Sequence[Book], *, is_counted: bool
    ) -> LoadCost:
        """Load books into an empty table; heartbeats are looked at meanwhile, if it is counted.

        Raises:
            RuntimeError: What arrived is not what the books hold.
        """
        self.admin.execute("DROP SCHEMA IF EXISTS benchmark CASCADE")
        self.admin.execute(
            "TRUNCATE ops.loads, ops.windows, ops.dead_letters RESTART IDENTITY CASCADE"
        )
        before = worker_cpu_seconds()

        def work() -> None:
            with self.delays.counted() if is_counted else nullcontext():
                load_books(self.connect, template, books, self.workers)

        cost = measure(self.admin, work, postmaster=self.postmaster)
        return LoadCost(cost, worker_cpu_seconds() - before)


def load_books(
    connect: Callable[[], psycopg.Connection],
    template: SpreadsheetTemplate,
    books: Sequence[Book],
    workers: IsolatedWorkers,
) -> None:
    """Load books and compare the ledger with what they hold.

    Raises:
        RuntimeError: They differ.
    """
    inserted = rejected = 0
    reports = load_workbook_files(
        connect,
        template,
        [book.path for book in books],
        DAY,
        workers=workers,
        options=options_of(template, LoadingSettings()),
    )
    for report in reports:
        if report.load.state is not LoadState.SUCCESS:
            raise RuntimeError(f"{report.files}: {report.load.state}, {report.message}")
        inserted += report.load.ledger.inserted
        rejected += report.load.ledger.rejected
    errors = sum(book.error_cells for book in books)
    rows = sum(book.rows for book in books)
    if (inserted, rejected) != (rows - errors, errors):
        raise RuntimeError(
            f"{inserted} rows inserted and {rejected} rejected, expected {rows - errors} and "
            f"{errors}; the figures would be those of another work"
        )


def worker_cpu_seconds() -> float:
    """Processor time of the processes behind our pools, of those that have ended too."""
    total = 0.0
    for process in _workers():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(_WORKERS_MODULE in word for word in process.cmdline()):
                found.append(process)
    return found


@dataclass(slots=True)
class PeakMemory:
    """The most memory that this process and its workers had together.

    Proportional set size: pages that processes share are counted once. The server is not counted.
    """

    peak_mb: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            total = 0
            for process in (psutil.Process(), *_workers()):
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_full_info().pss
            self.peak_mb = max(self.peak_mb, total / MIBIBYTE)
