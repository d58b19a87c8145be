"""Documents: from the files of one arrival day to searchable text.

claimed files -> recognised or read by a worker -> groups -> one transaction each -> reports

Which files there are is known from scans (sources/documents/landing.py); see scan.py.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import psycopg

from batch_assets.contracts.table import Scope, Window
from batch_assets.errors import LedgerImbalance
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.read import FileReader, Finished, chunk_settings
from batch_assets.ingest.documents.tables import CHUNKS, DOCUMENTS, TEXTS
from batch_assets.ingest.documents.write import DocumentReport, GroupWriter
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.loading.streams import Part, Stream, StreamOptions, open_stream
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.documents.landing_folder import open_folder
from batch_assets.sources.documents.readers import processing_fingerprints, worker_modules
from batch_assets.sources.documents.sources import DocumentSource

# Modules that workers import before their first document; spare ones do so before they are needed.
PRELOAD = worker_modules()


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """What is read, and how much is committed together.

    Attributes:
        retry_failed: Read failed documents again. Files that could not be opened always are.
        reprocess: Read again what another parser version or other chunk settings would change.
        force: Read everything again, whatever the hashes say.
        group_documents: Committed together, at most.
        group_bytes: Of results, committed together at most, except one larger document.
        group_seconds: How long a result waits for others to be committed with.
        stream: Lease and retries.
    """

    retry_failed: bool = False
    reprocess: bool = False
    force: bool = False
    group_documents: int = 32
    group_bytes: int = 8 * 1024 * 1024
    group_seconds: float = 1.0
    stream: StreamOptions = field(default_factory=StreamOptions)


@dataclass(frozen=True, slots=True)
class GroupReport:
    """What was committed together.

    Attributes:
        ledger: Files of the group by outcome.
        documents: One for each file; none in the first report, which counts the files that need
            no work, nor in the last.
        claimed: In the first report, files that are going to be dealt with.
        load: In the last report, the load as a whole.
    """

    ledger: Ledger
    documents: tuple[DocumentReport, ...] = ()
    claimed: int = 0
    load: LoadReport | None = None


@dataclass(slots=True)
class _Group:
    """Results that wait to be committed together."""

    options: IngestOptions
    items: list[Finished] = field(default_factory=list)
    size_bytes: int = 0
    begun: float = 0.0

    def add(self, item: Finished) -> None:
        if not self.items:
            self.begun = time.monotonic()
        self.items.append(item)
        self.size_bytes += item.size_bytes

    @property
    def is_due(self) -> bool:
        return bool(self.items) and (
            len(self.items) >= self.options.group_documents
            or self.size_bytes >= self.options.group_bytes
            or time.monotonic() - self.begun >= self.options.group_seconds
        )


def ingest_documents(
    connect: Connector,
    source: DocumentSource,
    day: date,
    *,
    workers: IsolatedWorkers,
    options: IngestOptions | None = None,
) -> Iterator[GroupReport]:
    """Read what has to be read of one arrival day, and report each group as it is committed.

    A file that cannot be read ends in a state and a dead letter and stops nothing. Files of the
    day that a scan finds meanwhile are left to the next call.

    Args:
        connect: Opens a connection.
        workers: Entered; best with PRELOAD. Several days may share it.

    Yields:
        First the files that need no work, then groups, then the load as a whole: `success`,
        `partial` with reason `failure_budget` when more documents fail than the source allows,
        or `skipped` with reason `no_files`.

    Raises:
        LeaseHeld: Somebody else is ingesting this day.
        DatabaseUnavailable: The database failed, retries included; groups reported are committed.
        WorkersUnavailable: No worker can be started.
    """
    options = options or IngestOptions()
    scope, window = Scope((("source", source.name),)), Window.of_day(day)
    tables = (DOCUMENTS, TEXTS, CHUNKS)
    with open_stream(connect, tables, scope, window, options.stream) as stream:
        yield from _Ingest(stream, source, day, workers, options).run()


@dataclass(slots=True)
class _Ingest:
    """One call: what it has claimed and counted."""

    stream: Stream
    source: DocumentSource
    day: date
    workers: IsolatedWorkers
    options: IngestOptions
    found: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    segments: int = 0
    seconds: float = 0.0

    def run(self) -> Iterator[GroupReport]:
        fingerprints = processing_fingerprints(chunk_settings(self.source))
        yield self._claim(fingerprints)
        reader = FileReader(
            self.stream,
            self.source,
            open_folder(self.source),
            self.workers,
            fingerprints,
            is_forced=self.options.force,
            retries=self.options.stream.retries,
            first_wait_seconds=self.options.stream.first_wait_seconds,
        )
        group = _Group(self.options)
        for item in reader.finished():
            if item is not None:
                group.add(item)
            if group.is_due:
                yield self._publish(group)
                group = _Group(self.options)
        if group.items:
            yield self._publish(group)
        yield self._close()

    def _claim(self, fingerprints: Mapping[str, str]) -> GroupReport:
        claimed = 0

        def write(conn: psycopg.Connection) -> Part:
            nonlocal claimed
            day = {"source": self.source.name, "day": self.day, "load_id": self.stream.load_id}
            conn.execute(
                read_query("claim_documents"),
                {
                    **day,
                    "retry_failed": self.options.retry_failed,
                    "reprocess": self.options.reprocess,
                    "force": self.options.force,
                    "fingerprints": json.dumps(dict(fingerprints)),
                },
            )
            row = conn.execute(read_query("count_document_day"), day).fetchone()
            self.found, claimed, unchanged, failed, growing = row or (0, 0, 0, 0, 0)
            return Part(
                Ledger(
                    read=self.found - claimed,
                    unchanged=unchanged,
                    rejected=failed,
                    skipped=growing,
                )
            )

        part = self.stream.publish(write)
        return GroupReport(part.ledger, claimed=claimed)

    def _publish(self, group: _Group) -> GroupReport:
        writer: GroupWriter | None = None

        def write(conn: psycopg.Connection) -> Part:
            nonlocal writer
            writer = GroupWriter(conn, self.source.name, self.stream.load_id, group.items)
            return writer.write()

        part = self.stream.publish(write)
        documents = tuple(writer.reports) if writer else ()
        for report in documents:
            self.outcomes[report.outcome or "changed"] += 1
            self.kinds[report.kind] += 1
            self.segments += report.segments
            self.seconds += report.seconds
        return GroupReport(part.ledger, documents)

    def _close(self) -> GroupReport:
        ledger = self.stream.ledger
        if ledger.read != self.found:
            raise LedgerImbalance(
                f"{self.stream.resource}: {self.found} files were found and {ledger.read} are "
                f"accounted for ({ledger}); what was committed stays; report this"
            )
        state, reason, message = self._judge(ledger)
        load = self.stream.close(
            state,
            reason=reason,
            message=message,
            metrics={
                "outcomes": dict(self.outcomes),
                "kinds": dict(self.kinds),
                "segments": self.segments,
                "parse_seconds": round(self.seconds, 3),
            },
        )
        return GroupReport(Ledger(), load=load)

    def _judge(self, ledger: Ledger) -> tuple[LoadState, str, str]:
        if ledger.read == 0:
            return LoadState.SKIPPED, "no_files", ""
        ratio = ledger.rejected / ledger.read
        source = self.source
        if ledger.rejected > source.failure_limit_documents or ratio > source.failure_limit_ratio:
            return (
                LoadState.PARTIAL,
                "failure_budget",
                f"{ledger.rejected} of {ledger.read} documents failed, the source allows "
                f"{source.failure_limit_documents} and {source.failure_limit_ratio:.1%}; the "
                "others are stored; look at the errors, correct the files and drop them again",
            )
        return LoadState.SUCCESS, "", ""


def read_document_outcomes(
    conn: psycopg.Connection, source: str, day: date
) -> dict[tuple[str, str], int]:
    """Number of files of a day by state and outcome, deleted ones left out."""
    rows = conn.execute(
        "SELECT state, coalesce(outcome, ''), count(*) FROM documents.files "
        "WHERE source = %s AND arrival_day = %s AND state <> 'deleted' GROUP BY 1, 2 ORDER BY 1, 2",
        (source, day),
    ).fetchall()
    return {(state, outcome): number for state, outcome, number in rows}
