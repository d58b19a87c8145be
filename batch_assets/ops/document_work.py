"""Documents for operators: how they stand, which failed, find them, read them without Dagster.

Uploads are in documents.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.ops.service import ready_database_url
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.documents.sources import DocumentSource, read_document_sources

if TYPE_CHECKING:
    from batch_assets.ingest.documents.embed import EmbedCounts
    from batch_assets.ingest.documents.ingest import GroupReport
    from batch_assets.ingest.documents.run import DayIngest
    from batch_assets.ingest.documents.search import Hit
    from batch_assets.loading.leases import Connector
    from batch_assets.sources.documents.landing import ScanReport


class Work(StrEnum):
    """What is read: what waits, what failed as well, or what would be made differently now."""

    WAITING = "waiting"
    FAILED = "failed"
    CHANGED = "changed"


@dataclass(slots=True)
class SourceStatus:
    """How the files of one source stand.

    Attributes:
        source: Its name.
        is_configured: False for one that is only known from the database.
        waiting: Files to be read.
        growing: Files that may still be written.
        outcomes: Files that ended, by outcome.
        deleted: Files that are no longer in the folder.
        chunks: Pieces of text that can be searched.
    """

    source: str
    is_configured: bool
    waiting: int = 0
    growing: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    deleted: int = 0
    chunks: int = 0

    @property
    def found(self) -> int:
        """Files in the folder, as far as it was looked at."""
        return self.waiting + self.growing + self.outcomes.total()


def choose_sources(settings: Settings, name: str | None) -> list[DocumentSource]:
    """The source of that name, or all of them.

    Raises:
        ConfigurationError: There is no such source, or none at all.
    """
    sources = read_document_sources(settings)
    if name is None and sources:
        return list(sources.values())
    if name is None or name not in sources:
        wanted = "no source of documents" if name is None else f"no source {name!r}"
        raise ConfigurationError(
            f"there is {wanted} in {settings.config_file}, expected "
            f"{', '.join(sources) or '[documents.sources.<name>] with a url'}; add it, or correct "
            "--source"
        )
    return [sources[name]]


@contextmanager
def asking() -> Iterator[psycopg.Connection]:
    """A connection for questions."""
    url = ready_database_url()
    with translating_errors(), connect(url, application_name="batch-assets") as conn:
        yield conn


def read_status(
    conn: psycopg.Connection, settings: Settings, *, source: str | None, day: date | None
) -> list[SourceStatus]:
    """How each source stands, also one without files and one that is configured no more."""
    configured = set(read_document_sources(settings))
    names = {source} if source is not None else configured
    found = {name: SourceStatus(name, name in configured) for name in sorted(names)}
    rows = conn.execute(read_query("read_document_status"), {"source": source, "day": day})
    for name, state, outcome, files, chunks in rows:
        status = found.setdefault(name, SourceStatus(name, name in configured))
        status.chunks += chunks
        if state in ("done", "failed"):
            status.outcomes[outcome] += files
        else:
            setattr(status, state, getattr(status, state) + files)
    return list(found.values())


def search(query: str, *, limit: int, source: str | None) -> "list[Hit]":
    """Pieces of documents that have every word of the query, the best first."""
    from batch_assets.ingest.documents.search import search_documents

    with asking() as conn:
        return search_documents(conn, query, limit=limit, source=source)


def plan_work(
    conn: psycopg.Connection, source: DocumentSource, work: Work, day: date | None
) -> Mapping[date, int]:
    """Days that have something to read, oldest first, with the number of files.

    Args:
        day: Only this one.
    """
    from batch_assets.ingest.documents.waiting import count_failed_by_day, count_outdated_by_day
    from batch_assets.sources.documents.landing import read_waiting_days

    match work:
        case Work.WAITING:
            days = read_waiting_days(conn, source.name)
        case Work.FAILED:
            days = count_failed_by_day(conn, source.name)
        case Work.CHANGED:
            days = count_outdated_by_day(conn, source)
    return {found: files for found, files in days.items() if day in (None, found)}


def ingest(
    settings: Settings,
    sources: Sequence[DocumentSource],
    work: Work,
    day: date | None,
    *,
    tell_scan: "Callable[[str, ScanReport], None]" = lambda _name, _report: None,
    tell_group: "Callable[[date, GroupReport], None]" = lambda _day, _group: None,
    tell_embedded: "Callable[[EmbedCounts], None]" = lambda _counts: None,
) -> "Iterator[DayIngest]":
    """Look at the landing folders and read what there is to read, in this process.

    Yields:
        Each day when it has ended. What waits on a day is read with whatever else is asked for.

    Raises:
        SourceUnavailable: A folder is not there; the sources before it are done.
        InfrastructureError: Database or workers failed; what was reported is committed.
    """
    from batch_assets.execution.isolation import open_workers
    from batch_assets.ingest.documents.embed import embed_if_configured
    from batch_assets.ingest.documents.ingest import PRELOAD, IngestOptions
    from batch_assets.ingest.documents.run import ingest_days, scan_whole
    from batch_assets.loading.streams import StreamOptions

    open_connection = _connector(settings)
    options = IngestOptions(
        retry_failed=work is Work.FAILED,
        reprocess=work is Work.CHANGED,
        stream=StreamOptions(lease_seconds=settings.loading.lease_seconds),
    )
    with translating_errors(), open_workers(settings, preload=PRELOAD) as workers:
        for source in sources:
            scanned = scan_whole(open_connection, source, now=lambda: datetime.now(UTC))
            tell_scan(source.name, scanned.report)
            with open_connection() as conn:
                days = plan_work(conn, source, work, day)
            yield from ingest_days(
                open_connection,
                source,
                days,
                workers=workers,
                options=options,
                tell=tell_group,
            )
            counts = embed_if_configured(open_connection, settings, source.name)
            if counts is not None:
                tell_embedded(counts)


def embed(settings: Settings, sources: Sequence[DocumentSource]) -> "Iterator[EmbedCounts]":
    """Give pieces of text that have no vector theirs; what was reported is committed.

    Raises:
        ConfigurationError: No endpoint is configured, or not rightly.
        InfrastructureError: Endpoint or database failed.
    """
    from batch_assets.ingest.documents.embed import embed_if_configured

    open_connection = _connector(settings)
    for source in sources:
        counts = embed_if_configured(open_connection, settings, source.name)
        if counts is None:
            raise ConfigurationError(
                f"there is no [documents.embedding] in {settings.config_file}, expected base_url, "
                "model and dimensions of an endpoint; add them"
            )
        yield counts


def _connector(settings: Settings) -> "Connector":
    return partial(
        connect,
        ready_database_url(),
        application_name="batch-assets documents",
        options=settings.database,
    )
