"""The seen-set: what a scan of a landing folder found, against what is known of it.

Comparison is one join in PostgreSQL; a scan of unchanged files writes nothing. A scan does a
bounded amount of work and says where the next one continues. Nothing here opens a file.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import PurePosixPath

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.landing_folder import (
    Entry,
    Folder,
    NamePatterns,
    Unlisted,
    list_folder,
)
from batch_assets.sources.documents.sources import ArrivalDay, DeletedPolicy, DocumentSource

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What one scan found.

    Attributes:
        position: Where the next scan continues; empty when the folder was listed to its end.
        listed: Files and refused things looked at.
        new: Paths never seen before.
        changed: Known paths with another size or time, back again, or grown up.
        growing: Of both, files that may still be written: the next scan looks again.
        refused: Of both, links, devices and paths that are not read.
        deleted: Known files that are gone and were marked.
        withheld: Known files that would be marked, were the folder not empty as a whole.
        unlisted: Folders that could not be listed, with the reason.
        is_busy: Somebody else is scanning the source; nothing was done.
    """

    position: str = ""
    listed: int = 0
    new: int = 0
    changed: int = 0
    growing: int = 0
    refused: int = 0
    deleted: int = 0
    withheld: int = 0
    unlisted: Mapping[str, str] | None = None
    is_busy: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the folder was listed to its end."""
        return not (self.position or self.is_busy)


@dataclass(slots=True)
class _Listing:
    """What one scan reads of a folder, within its bounds."""

    source: DocumentSource
    folder: Folder
    after: str
    listed: int = 0
    last: str = ""
    is_cut: bool = False
    unlisted: dict[str, str] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        patterns = NamePatterns(self.source.include, self.source.exclude)
        ends_at = time.monotonic() + self.source.seconds_per_scan
        for found in list_folder(self.folder, patterns, after=self.after):
            if isinstance(found, Unlisted):
                self.unlisted[found.path] = found.reason
                continue
            # At least one file a scan, so that every scan gets further than the one before.
            if self.listed and (
                self.listed >= self.source.files_per_scan or time.monotonic() > ends_at
            ):
                self.is_cut = True
                return
            self.listed += 1
            self.last = found.path
            yield found


def scan_source(
    conn: psycopg.Connection,
    source: DocumentSource,
    folder: Folder,
    *,
    now: datetime,
    after: str = "",
) -> ScanReport:
    """Look at a landing folder once and record what is new; the caller commits.

    Args:
        conn: Its transaction holds a lock on the source, so that scans take turns.
        now: The present, aware; its day is the arrival day of files that have no other.
        after: `position` of the scan before.

    Raises:
        SourceUnavailable: The folder is not there; nothing was marked as deleted.
    """
    folder.check()
    if not _take_turn(conn, source.name):
        return ScanReport(position=after, is_busy=True)
    listing = _Listing(source, folder, after)
    _copy_listing(conn, source, listing)
    today = now.astimezone(UTC).date()
    recorded = conn.execute(
        read_query("record_document_listing"),
        {
            "source": source.name,
            "today": today,
            "first_day": source.first_day,
            "by_folder": source.day is ArrivalDay.FOLDER,
            "settle_seconds": source.settle_seconds,
        },
    ).fetchone()
    new, changed, growing, refused = recorded or (0, 0, 0, 0)
    deleted, withheld = _mark_missing(conn, source, listing)
    if listing.unlisted:
        logger.warning("folders of documents cannot be listed: %s", listing.unlisted)
    return ScanReport(
        position=listing.last if listing.is_cut else "",
        listed=listing.listed,
        new=new,
        changed=changed,
        growing=growing,
        refused=refused,
        deleted=deleted,
        withheld=withheld,
        unlisted=listing.unlisted,
    )


def read_waiting_days(conn: psycopg.Connection, source: str) -> dict[date, int]:
    """Arrival days with files that wait to be read, oldest first, with their number."""
    rows = conn.execute(read_query("read_waiting_document_days"), {"source": source}).fetchall()
    return dict(rows)


def _take_turn(conn: psycopg.Connection, name: str) -> bool:
    row = conn.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"documents.files/{name}",)
    ).fetchone()
    return bool(row and row[0])


def _copy_listing(conn: psycopg.Connection, source: DocumentSource, listing: _Listing) -> None:
    conn.execute(read_query("create_document_listing"))
    by_folder = source.day is ArrivalDay.FOLDER
    day_of = lru_cache(maxsize=1_024)(source.day_of_folder)
    with conn.cursor() as cursor, cursor.copy("COPY document_listing FROM STDIN") as copy:
        for entry in listing.entries():
            day, refusal = None, entry.refusal or None
            if by_folder:
                day = day_of(str(PurePosixPath(entry.path).parent))
                if day is None and refusal is None:
                    refusal = (
                        "no date in the path of its folder, expected one as day_pattern of the "
                        "source says; move it into a folder of its day"
                    )
            copy.write_row((entry.path, day, entry.size_bytes, entry.modified_ns, refusal))
    # Without statistics a large listing is joined as if it had ten rows.
    conn.execute("ANALYZE document_listing")


def _mark_missing(
    conn: psycopg.Connection, source: DocumentSource, listing: _Listing
) -> tuple[int, int]:
    """Mark files that are gone; returns how many were marked, and how many were not."""
    if source.deleted is DeletedPolicy.KEEP:
        return 0, 0
    parameters = {
        "source": source.name,
        "after": listing.after,
        "up_to": listing.last if listing.is_cut else None,
        "unlisted": list(listing.unlisted),
        "removes": source.deleted is DeletedPolicy.REMOVE,
    }
    # A mount that is not there looks like a folder from which everything was deleted.
    is_empty = not (listing.listed or listing.after or listing.unlisted)
    name = "count_missing_documents" if is_empty else "mark_missing_documents"
    row = conn.execute(read_query(name), parameters).fetchone()
    number = int(row[0]) if row else 0
    if is_empty and number:
        logger.warning(
            "the landing folder of %s is empty and %d files of it are known: none is marked as "
            "deleted before a file is in it again",
            source.name,
            number,
        )
        return 0, number
    return number, 0
