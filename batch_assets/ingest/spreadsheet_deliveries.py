"""The files of an arrival day on their way: grouped into windows, read by workers, handed over.

Nothing here touches the database; see spreadsheets.py for what happens to the rows.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from itertools import chain
from pathlib import Path

from batch_assets.contracts.batch import SourceBatch
from batch_assets.contracts.table import Disposition, Window
from batch_assets.errors import SourceChanged, UnreadableSource
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
    TaskResult,
)
from batch_assets.loading.prepare import Position, WindowSource
from batch_assets.sources.spreadsheets.preflight import Refusal
from batch_assets.sources.spreadsheets.spool import ReadRequest, ReadResult, hash_file, read_spool
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

Submit = Callable[[ReadRequest], "Future[ReadResult]"]
"""Has a file read in a worker process; ends with what was found, or why the worker did not end."""

_READ = "batch_assets.sources.spreadsheets.spool:read_to_spool"

# Files that workers read before they are wanted. Their rows wait on disk, so the number bounds
# the spool folder and nothing in memory.
READ_AHEAD = 8


_ENDINGS = {
    TaskOutcome.TIMEOUT: (
        Refusal.TOO_LARGE,
        "took longer than {limits.timeout_seconds:g} s to read; split it, or save it as .xlsx or "
        ".csv, which are read in pieces",
    ),
    TaskOutcome.MEMORY: (
        Refusal.TOO_LARGE,
        "needs more than {limits.memory_bytes:,} bytes to read; split it, or save it as .xlsx or "
        ".csv, which are read in pieces",
    ),
    TaskOutcome.CRASH: (
        Refusal.CORRUPT,
        "ended the process that read it, twice; it is damaged: save it again in a spreadsheet "
        "program",
    ),
    TaskOutcome.ERROR: (
        Refusal.CORRUPT,
        "cannot be read ({error}); save it again in a spreadsheet program",
    ),
}


def submit_to(workers: IsolatedWorkers, limits: TaskLimits) -> Submit:
    """Reading in worker processes: whatever a file does to its reader, it does to its own alone."""

    def submit(request: ReadRequest) -> "Future[ReadResult]":
        answer: Future[ReadResult] = Future()

        def settle(done: "Future[TaskResult]") -> None:
            failure = done.exception()
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(result_of(done.result(), request.file))

        workers.submit(Task(_READ, request, limits)).add_done_callback(settle)
        return answer

    return submit


def result_of(ended: TaskResult, file: str) -> ReadResult:
    """What a worker found; how it ended, where that was not by finding anything."""
    if isinstance(ended.value, ReadResult):
        return ended.value
    refusal, text = _ENDINGS[ended.outcome]
    reason = text.format(limits=ended.task.limits, error=ended.error)
    return ReadResult(error=f"{file}: {reason}", refusal=refusal)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The files of one window.

    Attributes:
        window: The day for templates that replace, else the day and the file.
        files: Each file with the SHA-256 of its bytes.
    """

    window: Window
    files: tuple[tuple[Path, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(path.name for path, _ in self.files)

    @property
    def sha256(self) -> str:
        """Identity of all bytes and names together."""
        if len(self.files) == 1:
            return self.files[0][1]
        text = "\n".join(f"{digest} {path.name}" for path, digest in self.files)
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def find_deliveries(
    template: SpreadsheetTemplate, files: Sequence[Path], day: date
) -> Iterator[Delivery]:
    """Windows of files, in order of the files' names.

    Raises:
        UnreadableSource: A file is not there, or two have one name.
    """
    hashed = [(path, hash_delivered(path)) for path in sorted(files, key=lambda path: path.name)]
    names = [path.name for path, _ in hashed]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UnreadableSource(
            f"{repeated} was given twice, expected files with different names; rename one of them"
        )
    if template.disposition is Disposition.REPLACE:
        if hashed:
            yield Delivery(Window.of_day(day), tuple(hashed))
        return
    for path, digest in hashed:
        yield Delivery(Window(f"{day.isoformat()}/{path.name}"), ((path, digest),))


def hash_delivered(path: Path) -> str:
    """SHA-256 of a file that was given.

    Raises:
        UnreadableSource: It cannot be opened.
    """
    try:
        return hash_file(path)
    except OSError as error:
        raise UnreadableSource(
            f"{path.name}: cannot be opened ({error.strerror}), expected a readable file; check "
            "that it is still there"
        ) from error


@dataclass(slots=True)
class DeliveryReader:
    """Has files read by workers, a few ahead of the one that is loaded.

    Attributes:
        folder: Where spools are kept until their window is reported.
        extra: Columns added for unknown headers, by name.
    """

    template: SpreadsheetTemplate
    day: date
    submit: Submit
    folder: Path
    extra: Mapping[str, str]
    _pending: list[Delivery] = field(default_factory=list)
    _futures: dict[str, list["Future[ReadResult]"]] = field(default_factory=dict)

    def sources(
        self, deliveries: Iterable[Delivery], read_ahead: Collection[str]
    ) -> Iterator[WindowSource]:
        """A source for each window, opened when it is read.

        Args:
            deliveries: In the order of loading.
            read_ahead: Keys of windows that are surely read.
        """
        found = list(deliveries)
        self._pending = [item for item in found if item.window.key in read_ahead]
        for item in found:
            yield WindowSource(
                window=item.window,
                source_file=", ".join(item.names),
                source_hash=item.sha256,
                read=lambda after, item=item: self._read(item, after),  # type: ignore[misc]
            )

    def warnings_of(self, delivery: Delivery) -> tuple[str, ...]:
        """What readers said about files whose rows were loaded."""
        futures = self._futures.get(delivery.window.key, [])
        return tuple(warning for future in futures for warning in future.result().warnings)

    def drop(self, delivery: Delivery) -> None:
        """Remove the spools of a window that is done."""
        self._futures.pop(delivery.window.key, None)
        for index in range(len(delivery.files)):
            self._spool(delivery, index).unlink(missing_ok=True)

    def _read(self, delivery: Delivery, after: Position | None) -> Iterator[SourceBatch]:
        self._begin(delivery)
        while self._pending and len(self._futures) <= READ_AHEAD:
            self._begin(self._pending.pop(0))
        results = [future.result() for future in self._futures[delivery.window.key]]
        for result in results:
            check_result(result)
        done = int(after["batches"]) if after else 0
        yield from _numbered(
            chain.from_iterable(
                read_spool(self._spool(delivery, index), self.day) for index in range(len(results))
            ),
            done,
        )

    def _begin(self, delivery: Delivery) -> None:
        if delivery in self._pending:
            self._pending.remove(delivery)
        if delivery.window.key in self._futures:
            return
        self._futures[delivery.window.key] = [
            self.submit(
                ReadRequest(
                    path=path,
                    file=path.name,
                    sha256=digest,
                    template=self.template,
                    day=self.day,
                    spool=self._spool(delivery, index),
                    extra=self.extra,
                )
            )
            for index, (path, digest) in enumerate(delivery.files)
        ]

    def _spool(self, delivery: Delivery, index: int) -> Path:
        return self.folder / f"{sha256(delivery.window.key.encode()).hexdigest()[:24]}-{index}"


def _numbered(batches: Iterator[SourceBatch], done: int) -> Iterator[SourceBatch]:
    """Batches after those that are staged already; the same file gives the same batches."""
    for number, batch in enumerate(batches, 1):
        if number > done:
            yield replace(batch, resume_after={"batches": number})


def check_result(result: ReadResult) -> None:
    """Raise what a reader found wrong with a file.

    Raises:
        SourceChanged: It changed while it was read.
        UnreadableSource: Anything else.
    """
    if not result.error:
        return
    kind = SourceChanged if result.refusal == Refusal.CHANGED else UnreadableSource
    raise kind(result.error)
