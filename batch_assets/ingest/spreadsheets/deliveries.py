"""The files of an arrival day on their way: grouped into windows, read by workers, handed over.

Nothing here touches the database; see spreadsheets.py for what happens to the rows.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from batch_assets.contracts.batch import Position, SourceBatch
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Window
from batch_assets.errors import BatchAssetsError, SourceChanged, UnreadableSource
from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
    TaskResult,
)
from batch_assets.loading.prepare import WindowSource
from batch_assets.sources.spreadsheets.preflight import Refusal
from batch_assets.sources.spreadsheets.spool import ReadRequest, ReadResult, hash_file, read_spool
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

_READ = "batch_assets.sources.spreadsheets.spool:read_to_spool"
_READ_SEVERAL = "batch_assets.sources.spreadsheets.spool:read_several"

# Files that workers read before they are wanted. Their rows wait on disk, so the number bounds
# the spool folder and nothing in memory.
READ_AHEAD = 8
SMALL_READ_AHEAD = 64

# To hand a file to a worker takes about as long as to read a small one (measured: 3 ms and 4 ms
# for 200 rows of 8 columns), so a worker is given several of them.
SMALL_BYTES = 256 * 1024
SMALL_FILES_TOGETHER = 8


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


@dataclass(frozen=True, slots=True)
class Submit:
    """Reading in worker processes: whatever a file does to its reader, it does to its own alone.

    Answers end with what was found, or why the worker did not end.
    """

    workers: IsolatedWorkers
    limits: TaskLimits

    def __call__(self, request: ReadRequest) -> "Future[ReadResult]":
        """Have one file read."""
        answer: Future[ReadResult] = Future()
        self._answer_alone(request, answer)
        return answer

    def together(self, requests: Sequence[ReadRequest]) -> "list[Future[ReadResult]]":
        """Have small files read one after the other by one worker, which is less work for all.

        Where the worker does not end well, each of them is read again on its own.
        """
        if len(requests) == 1:
            return [self(requests[0])]
        answers: list[Future[ReadResult]] = [Future() for _ in requests]

        def settle(done: "Future[TaskResult]") -> None:
            failure = done.exception()
            if failure is not None:
                for answer in answers:
                    answer.set_exception(failure)
                return
            results = done.result().value
            if isinstance(results, tuple):
                for answer, result in zip(answers, results, strict=True):
                    answer.set_result(result)
                return
            for answer, request in zip(answers, requests, strict=True):
                self._answer_alone_or_fail(request, answer)

        task = Task(_READ_SEVERAL, tuple(requests), self.limits)
        self.workers.submit(task).add_done_callback(settle)
        return answers

    def _answer_alone(self, request: ReadRequest, answer: "Future[ReadResult]") -> None:
        def settle(done: "Future[TaskResult]") -> None:
            failure = done.exception()
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(result_of(done.result(), request.file))

        self.workers.submit(Task(_READ, request, self.limits)).add_done_callback(settle)

    def _answer_alone_or_fail(self, request: ReadRequest, answer: "Future[ReadResult]") -> None:
        try:
            self._answer_alone(request, answer)
        except BatchAssetsError as error:
            # Nobody above this callback would hear of it, and the answer would never come.
            answer.set_exception(error)


def submit_to(workers: IsolatedWorkers, limits: TaskLimits) -> Submit:
    """Reading in these worker processes, each file within these limits."""
    return Submit(workers, limits)


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
    def is_small(self) -> bool:
        """Whether it is one file that is read in no time."""
        try:
            return len(self.files) == 1 and self.files[0][0].stat().st_size <= SMALL_BYTES
        except OSError:
            return False  # The worker says what is wrong with it.

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
    _pending: dict[str, Delivery] = field(default_factory=dict)
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
        wanted = set(read_ahead)
        self._pending = {item.window.key: item for item in found if item.window.key in wanted}
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
        while self._pending:
            following = next(iter(self._pending.values()))
            if len(self._futures) > (SMALL_READ_AHEAD if following.is_small else READ_AHEAD):
                break
            self._begin(following)
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
        self._pending.pop(delivery.window.key, None)
        if delivery.window.key in self._futures:
            return
        if not delivery.is_small:
            requests = self._requests(delivery)
            self._futures[delivery.window.key] = [self.submit(request) for request in requests]
            return
        group = [delivery, *self._small_ones(SMALL_FILES_TOGETHER - 1)]
        answers = self.submit.together([self._requests(item)[0] for item in group])
        for item, answer in zip(group, answers, strict=True):
            self._futures[item.window.key] = [answer]

    def _small_ones(self, count: int) -> list[Delivery]:
        """Take the next small deliveries, as long as they follow each other."""
        taken = []
        for item in islice(self._pending.values(), count):
            if not item.is_small:
                break
            taken.append(item)
        for item in taken:
            del self._pending[item.window.key]
        return taken

    def _requests(self, delivery: Delivery) -> list[ReadRequest]:
        return [
            ReadRequest(
                path=path,
                file=path.name,
                sha256=digest,
                template=self.template,
                day=self.day,
                spool=self._spool(delivery, index),
                extra=self.extra,
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
