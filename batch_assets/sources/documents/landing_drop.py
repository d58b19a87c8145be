"""Put files into a landing folder: written beside it, flushed, moved in as wholes.

All is done relative to opened folders, so that no link below the root is ever followed. A name
that is there already stays for equal bytes and gives way to other ones, which the next scan takes
for a new version. Two files of one name in one drop get names of their own.
"""

import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from batch_assets.errors import BatchAssetsError, ConfigurationError, SourceUnavailable
from batch_assets.sources.documents.landing_file import fetch_file
from batch_assets.sources.documents.landing_folder import (
    Item,
    LocalFolder,
    NamePatterns,
    open_folder,
)
from batch_assets.sources.documents.landing_name import numbered, safe_name
from batch_assets.sources.documents.limits import too_large
from batch_assets.sources.documents.sources import ArrivalDay, DocumentSource

# In the same file system as the folder; hidden, so that scans pass it over.
STAGING_NAME = ".uploads"

# What a process left there that was killed; no upload takes a day.
_STALE_SECONDS = 24 * 3600.0

# Flushes of small files wait for the same disk: together they take a fraction of the time.
_FLUSH_THREADS = 16

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DropResult(StrEnum):
    """What became of one file of a drop.

    ACCEPTED: it is in the folder; KNOWN: the same bytes were there already; REFUSED: nothing of
    it was kept.
    """

    ACCEPTED = "accepted"
    KNOWN = "known"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Dropped:
    """One file of a drop.

    Attributes:
        name: As it was sent.
        result: What became of it.
        path: Where it is, relative to the source; empty if it was refused.
        outcome: Of a refused one: `too_large` or `refused`.
        reason: Of a refused one: what was seen, expected and what to do.
        sha256: Of its bytes, hexadecimal; empty if it was refused.
        size_bytes: As far as it was received.
        modified_ns: Time of change of the file in the folder; 0 if it was refused.
    """

    name: str
    result: DropResult
    path: str = ""
    outcome: str = ""
    reason: str = ""
    sha256: str = ""
    size_bytes: int = 0
    modified_ns: int = 0


@dataclass(slots=True)
class _Arriving:
    """A file that is being written, or was."""

    name: str
    part: str
    file: BinaryIO | None
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    modified_ns: int = 0
    refusal: tuple[str, str] | None = None


class LandingDrop:
    """Files on their way into the folder of one source; a context manager.

    Nothing is in the folder before `move_in`; leaving the block removes what was not moved.
    """

    def __init__(self, source: DocumentSource, *, day: date | None, now: datetime) -> None:
        """Describe a drop; nothing is written before the block is entered.

        Args:
            day: Arrival day that the files shall have; default: the present one.
            now: The present, aware.

        Raises:
            ConfigurationError: The source is not a folder of this machine, its patterns would not
                leave out what is half written, or the day is not one of the source.
        """
        self._source = source
        self._now = now.astimezone(UTC)
        self._day = day or self._now.date()
        self._patterns = NamePatterns(source.include, source.exclude)
        self._root = _root_of(source)
        self._folder_name = self._day.isoformat() if source.day is ArrivalDay.FOLDER else ""
        self._check_day()
        self._check_patterns()
        self._arriving: list[_Arriving] = []
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with self._translating(), ExitStack() as undo:
            LocalFolder(self._root).check()
            root = os.open(self._root, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
            undo.callback(os.close, root)
            self._target = self._open_below(undo, root, self._folder_name)
            uploads = self._open_below(undo, root, STAGING_NAME)
            _sweep(uploads)
            name = secrets.token_hex(8)
            os.mkdir(name, dir_fd=uploads)
            undo.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=uploads)
            self._staging = self._open_below(undo, uploads, name)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for arriving in self._arriving:
            if arriving.file is not None:
                arriving.file.close()
        self._exit.close()

    @property
    def source_name(self) -> str:
        """Whose folder it is."""
        return self._source.name

    @property
    def count(self) -> int:
        """Files begun so far."""
        return len(self._arriving)

    def begin(self, name: str) -> None:
        """A file follows; the one before has ended."""
        part = f"{len(self._arriving)}.part"
        arriving = _Arriving(name, part, None)
        self._arriving.append(arriving)
        plain = safe_name(name)
        if not self._patterns.accepts(Item(plain)):
            reason = (
                f"it would be called {plain!r}, which the source does not read; expected a name "
                f"that [documents.sources.{self._source.name}] includes and does not exclude; "
                "rename it and send it again"
            )
            arriving.refusal = ("refused", reason)
            return
        with self._translating():
            handle = os.open(part, _FILE_FLAGS, 0o666, dir_fd=self._staging)
            arriving.file = os.fdopen(handle, "wb")

    def write(self, content: bytes) -> None:
        """The next bytes of the file; those of a refused one are dropped."""
        arriving = self._arriving[-1]
        arriving.size_bytes += len(content)
        limit = self._source.limits.max_file_bytes
        if arriving.size_bytes > limit and arriving.refusal is None:
            refused = too_large("bytes", arriving.size_bytes, "max_file_bytes", limit)
            arriving.refusal = (refused.outcome.value, refused.reason)
            self._discard(arriving)
        if arriving.file is not None:
            arriving.digest.update(content)
            with self._translating():
                arriving.file.write(content)

    def end(self) -> None:
        """The file is complete."""
        arriving = self._arriving[-1]
        if arriving.file is not None:
            with self._translating():
                arriving.file.close()
            arriving.file = None

    def move_in(self) -> list[Dropped]:
        """Move the complete files into the folder, flushed to its disk.

        Returns:
            What became of each file, in the order they came.
        """
        whole = [arriving for arriving in self._arriving if arriving.refusal is None]
        with self._translating():
            with ThreadPoolExecutor(_FLUSH_THREADS) as threads:
                list(threads.map(self._flush, whole))
            taken: dict[str, str] = {}
            dropped = [self._move(arriving, taken) for arriving in self._arriving]
            os.fsync(self._target)
        return dropped

    def _check_day(self) -> None:
        name, first = self._source.name, self._source.first_day
        if not first <= self._day <= self._now.date():
            raise ConfigurationError(
                f"the day is {self._day}, expected one from {first} (first_day of "
                f"[documents.sources.{name}]) to {self._now.date()}; send another one or none"
            )
        found = self._source.day_of_folder(self._folder_name)
        if self._folder_name and found != self._day:
            raise ConfigurationError(
                f"[documents.sources.{name}] day_pattern reads {found} from a folder named "
                f"{self._folder_name}, expected {self._day}; files cannot be uploaded to it: let "
                "the pattern allow such names"
            )

    def _check_patterns(self) -> None:
        name = self._source.name
        if self._patterns.accepts(Item(STAGING_NAME, is_folder=True)):
            raise ConfigurationError(
                f"[documents.sources.{name}] exclude lets {STAGING_NAME} pass, where uploads are "
                "written; expected a pattern for hidden names; add '.*' to exclude"
            )
        day_folder = Item(self._folder_name, is_folder=True)
        if self._folder_name and not self._patterns.accepts(day_folder):
            raise ConfigurationError(
                f"[documents.sources.{name}] exclude leaves out folders such as "
                f"{self._folder_name}, expected it to let folders of days pass; correct it"
            )

    def _open_below(self, undo: ExitStack, parent: int, name: str) -> int:
        if not name:
            return parent
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        handle = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
        undo.callback(os.close, handle)
        return handle

    def _discard(self, arriving: _Arriving) -> None:
        if arriving.file is not None:
            arriving.file.close()
            arriving.file = None
            os.unlink(arriving.part, dir_fd=self._staging)

    def _flush(self, arriving: _Arriving) -> None:
        handle = os.open(arriving.part, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._staging)
        try:
            os.utime(handle, ns=(self._modified_ns(), self._modified_ns()))
            os.fsync(handle)
            # As the file system keeps it, which may be coarser.
            arriving.modified_ns = os.fstat(handle).st_mtime_ns
        finally:
            os.close(handle)

    def _modified_ns(self) -> int:
        # The day of the file, at this moment's time of day: another upload has another time, so
        # that a scan sees a new version of equal size.
        moment = datetime.combine(self._day, self._now.timetz())
        return int(moment.timestamp() * 1_000_000) * 1_000

    def _move(self, arriving: _Arriving, taken: dict[str, str]) -> Dropped:
        if arriving.refusal is not None:
            outcome, reason = arriving.refusal
            return Dropped(
                arriving.name,
                DropResult.REFUSED,
                outcome=outcome,
                reason=reason,
                size_bytes=arriving.size_bytes,
            )
        sha256 = arriving.digest.hexdigest()
        name, there = self._place(safe_name(arriving.name), sha256, arriving.size_bytes, taken)
        if there is None:
            os.replace(arriving.part, name, src_dir_fd=self._staging, dst_dir_fd=self._target)
            there = arriving.modified_ns
            result = DropResult.ACCEPTED
        else:
            result = DropResult.KNOWN
        taken[name] = sha256
        return Dropped(
            arriving.name,
            result,
            path=f"{self._folder_name}/{name}" if self._folder_name else name,
            sha256=sha256,
            size_bytes=arriving.size_bytes,
            modified_ns=there,
        )

    def _place(
        self, plain: str, sha256: str, size_bytes: int, taken: dict[str, str]
    ) -> tuple[str, int | None]:
        """A name for the file; the time of change of what is there, if that is the same file."""
        number = 1
        while True:
            name = numbered(plain, number)
            number += 1
            if taken.get(name, sha256) != sha256:
                continue
            try:
                found = os.stat(name, dir_fd=self._target, follow_symlinks=False)
            except FileNotFoundError:
                return name, None
            if not stat.S_ISREG(found.st_mode):
                continue
            is_same = found.st_size == size_bytes and self._hash_of(name) == sha256
            return name, found.st_mtime_ns if is_same else None

    def _hash_of(self, name: str) -> str | None:
        path = f"{self._folder_name}/{name}" if self._folder_name else name
        try:
            return fetch_file(LocalFolder(self._root), path, self._root, retries=0).sha256
        except BatchAssetsError:
            # Gone or not ours to read: it is replaced.
            return None

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceUnavailable(
                f"the landing folder of {self._source.name} cannot be written: "
                f"{error.strerror or error}; expected plain folders, permission and space; "
                "correct that, then send the files again"
            ) from error


def _root_of(source: DocumentSource) -> Path:
    folder = open_folder(source)
    if isinstance(folder, LocalFolder):
        return folder.root
    raise ConfigurationError(
        f"[documents.sources.{source.name}] is a store behind a URL, expected a folder of this "
        "machine; put the files into the store itself"
    )


def _sweep(uploads: int) -> None:
    """Remove what uploads left whose process was killed."""
    oldest = time.time() - _STALE_SECONDS
    for name in os.listdir(uploads):
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=uploads, follow_symlinks=False).st_mtime < oldest:
                shutil.rmtree(name, ignore_errors=True, dir_fd=uploads)
