"""From claimed files to what became of each: recognised by their hash, or read by a worker.

Nothing is written here; results wait in memory only until their group is published.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from batch_assets.execution.isolation import (
    IsolatedWorkers,
    Task,
    TaskLimits,
    TaskOutcome,
    TaskResult,
)
from batch_assets.ingest.documents.fetch import fetch_ahead
from batch_assets.loading.streams import Stream
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.chunks import ChunkSettings
from batch_assets.sources.documents.landing_file import (
    FileOutside,
    FileUnreadable,
    FileVanished,
    LocalFile,
    fetch_file,
)
from batch_assets.sources.documents.landing_folder import LocalFolder, RemoteFolder
from batch_assets.sources.documents.limits import check_file_bytes
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused, reason_of
from batch_assets.sources.documents.parse import ParseReply, ParseRequest
from batch_assets.sources.documents.sources import DocumentSource

PARSE_TASK = "batch_assets.sources.documents.parse:parse_task"

# Files asked for at a time; only their names and times are in memory.
_PAGE_FILES = 500

# A worker never waits for this process: one document in work and one waiting for each.
_IN_FLIGHT_PER_WORKER = 2

# How long to wait for the next result before the group is asked whether it is due.
_TICK_SECONDS = 0.5


class Kind(StrEnum):
    """What was done about a file.

    READ by a worker; COPIED from a document with the same content; RENAMED, where the file of
    that document is gone; UNCHANGED content under a new time; FAULT of the file itself, which was
    not opened; SKIPPED, because it changed meanwhile and is left to the next load.
    """

    READ = "read"
    COPIED = "copied"
    RENAMED = "renamed"
    UNCHANGED = "unchanged"
    FAULT = "fault"
    SKIPPED = "skipped"


class FileFault(StrEnum):
    """Ends of a file that say nothing about its content, beside those of DocumentOutcome."""

    REFUSED = "refused"
    VANISHED = "vanished"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class ClaimedFile:
    """A file as it was claimed, and what is known of its content (read_claimed_documents.sql)."""

    path: str
    arrival_day: date
    size_bytes: int
    modified_ns: int
    state: str
    outcome: str | None
    reason: str
    known_sha256: str | None
    known_outcome: str | None
    known_media_type: str | None
    known_fingerprint: str | None
    is_without_text: bool


@dataclass(frozen=True, slots=True)
class Twin:
    """A document with the same content at another path."""

    document_id: int
    path: str
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of one file, not published yet.

    Attributes:
        file: As it was claimed.
        kind: What was done.
        outcome: A DocumentOutcome or FileFault; empty for SKIPPED.
        reason: What was seen, expected, and what to do; empty for ok.
        sha256: Of its content; None if it was not read.
        reply: Text and chunks, of READ.
        twin: Of COPIED and RENAMED.
        seconds: A worker took.
        peak_memory_bytes: Of that worker.
    """

    file: ClaimedFile
    kind: Kind
    outcome: str
    reason: str = ""
    sha256: str | None = None
    reply: ParseReply | None = None
    twin: Twin | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """About what the result takes in memory."""
        if self.reply is None or self.reply.document is None:
            return 1_000
        characters = sum(len(segment.text) for segment in self.reply.document.segments)
        return 1_000 + 3 * characters


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads the claimed files of one load.

    Attributes:
        fingerprints: By media type, what documents are made with now.
        is_forced: Read everything, whatever the hashes say.
        retries: After a failure of disk or store.
        first_wait_seconds: Before the first of them.
    """

    stream: Stream
    source: DocumentSource
    folder: LocalFolder | RemoteFolder
    workers: IsolatedWorkers
    fingerprints: Mapping[str, str]
    is_forced: bool
    retries: int
    first_wait_seconds: float

    def finished(self) -> Iterator[Finished | None]:
        """Every claimed file once, in the order in which they end.

        Yields:
            None where nothing has ended for a moment.
        """
        limit = _IN_FLIGHT_PER_WORKER * self.workers.statistics().workers
        pending: dict[Future[TaskResult], tuple[ClaimedFile, LocalFile]] = {}
        try:
            for file, looked in self._looked_at():
                begun = self._begin(file, looked)
                if isinstance(begun, Finished):
                    yield begun
                else:
                    pending[self._submit(file, begun)] = (file, begun)
                while len(pending) >= limit:
                    yield from self._ended(pending)
            while pending:
                yield from self._ended(pending)
        finally:
            for future, (_, local) in pending.items():
                future.cancel()
                local.discard()

    def _claimed(self) -> Iterator[ClaimedFile]:
        after = ""
        while True:
            page = self.stream.read(lambda conn, last=after: self._read_page(conn, last))  # type: ignore[misc]  # reason: mypy does not type a default of a lambda
            yield from page
            if len(page) < _PAGE_FILES:
                return
            after = page[-1].path

    def _read_page(self, conn: psycopg.Connection, after: str) -> list[ClaimedFile]:
        with conn.cursor(row_factory=class_row(ClaimedFile)) as cursor:
            return cursor.execute(
                read_query("read_claimed_documents"),
                {"load_id": self.stream.load_id, "after": after, "limit": _PAGE_FILES},
            ).fetchall()

    def _looked_at(self) -> Iterator[tuple[ClaimedFile, Finished | LocalFile]]:
        """Every claimed file with its local copy; those of a store are fetched ahead."""
        if isinstance(self.folder, LocalFolder):
            for file in self._claimed():
                yield file, self._look(file)
            return
        ahead = fetch_ahead(
            self._claimed(), self._look, lambda file: file.size_bytes, _discard_copy
        )
        with closing(ahead):
            yield from ahead

    def _look(self, file: ClaimedFile) -> Finished | LocalFile:
        """What can be said about a file without reading it, else where it is; asks no database."""
        if file.state != "waiting":
            return Finished(file, Kind.SKIPPED, "")
        if file.outcome == FileFault.REFUSED:
            return Finished(file, Kind.FAULT, FileFault.REFUSED, file.reason)
        try:
            # Before it is hashed: the limit is there to spare us that.
            check_file_bytes(file.size_bytes, self.source.limits.as_parse_limits())
            return fetch_file(
                self.folder,
                file.path,
                self.workers.folder,
                retries=self.retries,
                first_wait_seconds=self.first_wait_seconds,
            )
        except DocumentRefused as refusal:
            return Finished(file, Kind.READ, refusal.outcome, refusal.reason)
        except FileVanished as error:
            return Finished(file, Kind.FAULT, FileFault.VANISHED, str(error))
        except FileUnreadable as error:
            return Finished(file, Kind.FAULT, FileFault.UNREADABLE, str(error))
        except FileOutside as error:
            return Finished(file, Kind.FAULT, FileFault.REFUSED, str(error))

    def _begin(self, file: ClaimedFile, looked: Finished | LocalFile) -> Finished | LocalFile:
        """Its end, if its content is known, else where a worker can read it."""
        if isinstance(looked, Finished):
            return looked
        recognised = None if self.is_forced else self._recognise(file, looked)
        if recognised is None:
            return looked
        looked.discard()
        return recognised

    def _recognise(self, file: ClaimedFile, local: LocalFile) -> Finished | None:
        if local.sha256 == file.known_sha256 and not file.is_without_text:
            is_current = file.known_fingerprint == self.fingerprints.get(
                file.known_media_type or ""
            )
            if file.known_outcome == DocumentOutcome.OK and is_current:
                return Finished(file, Kind.UNCHANGED, DocumentOutcome.OK, sha256=local.sha256)
        twin = self.stream.read(lambda conn: self._find_twin(conn, file.path, local.sha256))
        if twin is None:
            return None
        kind = Kind.RENAMED if twin.is_gone else Kind.COPIED
        return Finished(file, kind, DocumentOutcome.OK, sha256=local.sha256, twin=twin)

    def _find_twin(self, conn: psycopg.Connection, path: str, sha256: str) -> Twin | None:
        with conn.cursor(row_factory=class_row(Twin)) as cursor:
            return cursor.execute(
                read_query("find_document_twin"),
                {
                    "source": self.source.name,
                    "path": path,
                    "sha256": sha256,
                    "fingerprints": json.dumps(dict(self.fingerprints)),
                },
            ).fetchone()

    def _submit(self, file: ClaimedFile, local: LocalFile) -> Future[TaskResult]:
        request = ParseRequest(
            path=str(local.path),
            name=Path(file.path).name,
            limits=self.source.limits.as_parse_limits(),
            chunks=chunk_settings(self.source),
        )
        limits = TaskLimits(self.source.parse_timeout_seconds, self.source.parse_memory_bytes)
        return self.workers.submit(Task(PARSE_TASK, request, limits, key=file.path))

    def _ended(
        self, pending: dict[Future[TaskResult], tuple[ClaimedFile, LocalFile]]
    ) -> Iterator[Finished | None]:
        done, _ = wait(pending, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
        if not done:
            yield None
        for future in done:
            file, local = pending.pop(future)
            local.discard()
            yield _finish(file, local, future.result())


def _discard_copy(looked: Finished | LocalFile) -> None:
    if isinstance(looked, LocalFile):
        looked.discard()


def chunk_settings(source: DocumentSource) -> ChunkSettings:
    """How texts of a source are split."""
    return ChunkSettings(source.chunk_characters, source.overlap_characters)


def _finish(file: ClaimedFile, local: LocalFile, result: TaskResult) -> Finished:
    outcome, reason, reply = _judge(result)
    if reply is not None and reply.sha256 and reply.sha256 != local.sha256:
        # Written to while it was read: neither hash is the one of a whole file.
        return Finished(file, Kind.SKIPPED, "")
    return Finished(
        file,
        Kind.READ,
        outcome,
        reason,
        local.sha256,
        reply,
        seconds=result.seconds,
        peak_memory_bytes=result.peak_memory_bytes,
    )


def _judge(result: TaskResult) -> tuple[str, str, ParseReply | None]:
    reply = result.value
    if result.outcome is TaskOutcome.OK and isinstance(reply, ParseReply):
        return reply.outcome, reply.reason, reply
    outcome = {
        TaskOutcome.TIMEOUT: DocumentOutcome.TIMEOUT,
        TaskOutcome.MEMORY: DocumentOutcome.MEMORY,
    }.get(result.outcome, DocumentOutcome.CRASH)
    limits = result.task.limits
    seen = {
        DocumentOutcome.TIMEOUT: f"it was not read within {limits.timeout_seconds:g} s",
        DocumentOutcome.MEMORY: f"reading it needed more than {limits.memory_bytes:,} bytes",
    }.get(outcome, f"{reason_of(outcome)} {result.error}".strip())
    return outcome, seen, None
