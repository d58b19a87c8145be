"""The landing folder of device records: which files are there, which are left, how far they are."""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import psycopg

from batch_assets.errors import BatchAssetsError, SourceUnavailable, UnreadableSource
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.files import FORMATS, is_device_file
from batch_assets.sources.devices.shards import BUCKETS

logger = logging.getLogger(__name__)

# A statement for each costs more than looking at a small file.
_NOTED_TOGETHER = 1_000

# One that had changed while it was read is looked at again, whatever it looks like.
_KNOWN = (
    "SELECT path, size_bytes, modified_ns FROM devices.files "
    "WHERE state <> 'failed' OR reason NOT LIKE 'SourceChanged:%'"
)


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that is not done.

    Attributes:
        file_id: Row of devices.files; files are loaded in this order.
        path: Relative to the landing folder.
        sha256: Of its content when it was found.
        size_bytes: Of its content when it was found.
    """

    file_id: int
    path: str
    sha256: str
    size_bytes: int


def scan_device_folder(
    conn: psycopg.Connection,
    root: Path,
    settled_before: datetime,
    formats: Collection[str] = FORMATS,
) -> int:
    """Note the files of a folder that are not known with this content.

    Args:
        conn: The caller commits.
        settled_before: A file written to after this moment may still grow, and is left alone.
        formats: Which files count, by the end of their name.

    Returns:
        How many were found new.

    Raises:
        SourceUnavailable: The folder cannot be read.
    """
    if not root.is_dir():
        raise SourceUnavailable(
            f"{root} is not a folder that can be read; expected the landing folder of [devices]; "
            "make it, or mount it, and run again"
        )
    known: set[tuple[str, int, int]] = set(conn.execute(_KNOWN).fetchall())
    found = _Found(conn)
    for path in sorted(root.rglob("*")):
        # A name with a dot in front is how copying programs name what is not complete.
        if path.name.startswith(".") or not is_device_file(path, formats):
            continue
        if path.is_symlink():
            logger.warning("%r is a link and is left out; put a copy into the folder", path.name)
            continue
        try:
            seen = _look_at(root, path, settled_before, known)
        except (OSError, UnicodeEncodeError, UnreadableSource) as error:
            # Moved away meanwhile, not ours to read, or a name that is no text: the others count.
            logger.warning("%r is left out of this scan: %s", path.name, error)
            continue
        if seen is not None:
            found.add(seen)
    return found.end()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file of the folder that is not known as it is."""

    path: str
    sha256: str
    size_bytes: int
    modified_ns: int


def _look_at(
    root: Path, path: Path, settled_before: datetime, known: set[tuple[str, int, int]]
) -> _Seen | None:
    name, look = path.relative_to(root).as_posix(), path.stat()
    is_growing = look.st_mtime >= settled_before.timestamp()
    if is_growing or not path.is_file() or (name, look.st_size, look.st_mtime_ns) in known:
        return None
    name.encode("utf-8")
    return _Seen(name, hash_file(path), look.st_size, look.st_mtime_ns)


@dataclass(slots=True)
class _Found:
    """Files that are noted, many by one statement."""

    conn: psycopg.Connection
    _waiting: list[_Seen] = field(default_factory=list)
    _known: list[_Seen] = field(default_factory=list)
    _count: int = 0

    def add(self, seen: _Seen) -> None:
        self._waiting.append(seen)
        if len(self._waiting) >= _NOTED_TOGETHER:
            self._note()

    def end(self) -> int:
        """Note what is left; returns how many were found in all."""
        self._note()
        if self._known:
            self.conn.execute(read_query("note_device_files_again"), _columns(self._known))
        return self._count

    def _note(self) -> None:
        if not self._waiting:
            return
        columns = _columns(self._waiting)
        noted = self.conn.execute(read_query("note_device_files"), columns).rowcount
        if noted < len(self._waiting):
            # Some are in the table already, with another time of change.
            self._known.extend(self._waiting)
        self._count += len(self._waiting)
        self._waiting = []


def _columns(files: Sequence[_Seen]) -> dict[str, list[str] | list[int]]:
    return {
        "paths": [one.path for one in files],
        "sha256s": [one.sha256 for one in files],
        "sizes": [one.size_bytes for one in files],
        "modified": [one.modified_ns for one in files],
    }


def hash_file(path: Path) -> str:
    """SHA-256 of the bytes of a file, hexadecimal.

    Raises:
        UnreadableSource: It cannot be opened or read.
    """
    with _refusing(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_bytes(path: Path, bytes_max: int) -> bytes:
    """The first bytes of a file.

    Raises:
        UnreadableSource: It cannot be opened or read.
    """
    with _refusing(path), path.open("rb") as stream:
        return stream.read(bytes_max)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableSource(
            f"{path.name}: cannot be read ({error.strerror}); let the loading user read it, and "
            "put it into the folder again"
        ) from error


def list_waiting(conn: psycopg.Connection, until: date | None = None) -> list[WaitingFile]:
    """Files that are not done, in the order in which they are loaded.

    Args:
        until: Those that arrived later are left out.
    """
    rows = conn.execute(
        "SELECT file_id, path, sha256, size_bytes FROM devices.files "
        "WHERE state = 'waiting' AND arrival_day <= %s ORDER BY file_id",
        (until or date.max,),
    ).fetchall()
    return [WaitingFile(*row) for row in rows]


def read_progress(conn: psycopg.Connection, file_ids: Sequence[int]) -> Mapping[int, Sequence[int]]:
    """For each of the 256 buckets, the last row that is committed; files without any are absent."""
    found = conn.execute(read_query("read_device_progress"), {"file_ids": list(file_ids)})
    rows: dict[int, list[int]] = {}
    for file_id, bucket, last_row in found:
        rows.setdefault(file_id, [0] * BUCKETS)[bucket] = last_row
    return rows


def fail_file(conn: psycopg.Connection, file_id: int, error: BatchAssetsError) -> None:
    """Give a file up; with another content it is another file.

    One that was gone or had changed waits again as soon as it is found with the old content.
    """
    conn.execute(
        "UPDATE devices.files SET state = 'failed', reason = %s, finished_at = clock_timestamp() "
        "WHERE file_id = %s AND state = 'waiting'",
        (f"{type(error).__name__}: {error}", file_id),
    )
