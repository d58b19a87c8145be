"""The landing folder of device records: which files are there, which are left, how far they are."""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg

from batch_assets.errors import BatchAssetsError, SourceUnavailable, UnreadableSource
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.files import FORMATS, is_device_file
from batch_assets.sources.devices.shards import BUCKETS

logger = logging.getLogger(__name__)

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
    """

    file_id: int
    path: str
    sha256: str


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
    found = 0
    for path in sorted(root.rglob("*")):
        # A name with a dot in front is how copying programs name what is not complete.
        if path.name.startswith(".") or not is_device_file(path, formats):
            continue
        if path.is_symlink():
            logger.warning("%r is a link and is left out; put a copy into the folder", path.name)
            continue
        try:
            found += _note(conn, root, path, settled_before, known)
        except (OSError, UnicodeEncodeError, UnreadableSource) as error:
            # Moved away meanwhile, not ours to read, or a name that is no text: the others count.
            logger.warning("%r is left out of this scan: %s", path.name, error)
    return found


def _note(
    conn: psycopg.Connection,
    root: Path,
    path: Path,
    settled_before: datetime,
    known: set[tuple[str, int, int]],
) -> int:
    name, look = path.relative_to(root).as_posix(), path.stat()
    is_growing = look.st_mtime >= settled_before.timestamp()
    if is_growing or not path.is_file() or (name, look.st_size, look.st_mtime_ns) in known:
        return 0
    name.encode("utf-8")
    values = (name, hash_file(path), look.st_size, look.st_mtime_ns)
    return conn.execute(read_query("note_device_file"), values).rowcount


def hash_file(path: Path) -> str:
    """SHA-256 of the bytes of a file, hexadecimal.

    Raises:
        UnreadableSource: It cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
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
        "SELECT file_id, path, sha256 FROM devices.files "
        "WHERE state = 'waiting' AND arrival_day <= %s ORDER BY file_id",
        (until or date.max,),
    ).fetchall()
    return [WaitingFile(*row) for row in rows]


def read_progress(conn: psycopg.Connection, file_id: int) -> Sequence[int]:
    """For each of the 256 buckets, the last row of a file that is committed."""
    found = conn.execute(read_query("read_device_progress"), {"file_id": file_id}).fetchall()
    rows: dict[int, int] = dict(found)
    return [rows.get(bucket, 0) for bucket in range(BUCKETS)]


def fail_file(conn: psycopg.Connection, file_id: int, error: BatchAssetsError) -> None:
    """Give a file up; with another content it is another file.

    One that was gone or had changed waits again as soon as it is found with the old content.
    """
    conn.execute(
        "UPDATE devices.files SET state = 'failed', reason = %s, finished_at = clock_timestamp() "
        "WHERE file_id = %s AND state = 'waiting'",
        (f"{type(error).__name__}: {error}", file_id),
    )
