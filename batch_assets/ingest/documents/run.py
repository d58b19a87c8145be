"""One run over documents: look at the landing folder, then read the days that have work.

What Dagster's assets and the command line share. One day is read in documents.py.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from batch_assets.errors import BatchAssetsError, InfrastructureError
from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ingest.documents.ingest import (
    GroupReport,
    IngestOptions,
    ingest_documents,
    read_document_outcomes,
)
from batch_assets.ingest.documents.scan import Scanned, scan_documents
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.sources.documents.landing import ScanReport
from batch_assets.sources.documents.sources import DocumentSource

# Another scan of the source works within the same bounds; what it finds is ours to read, too.
_BUSY_WAIT_SECONDS = 30.0
_BUSY_POLL_SECONDS = 0.2

# Who lets files settle for longer than this has a sensor or schedule look again.
_MOST_SETTLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class DayIngest:
    """What became of one arrival day in one run.

    Attributes:
        source: Name of the source.
        day: Arrival day.
        load: How the load ended; None if it did not.
        error: Why it did not.
        files: Files of the day by outcome as they are now; `waiting` and `growing` have none yet.
        outcomes: Files that this load dealt with, by outcome.
        segments: Pages, slides, sheets ... that were read.
        chunks: Pieces of text that were stored.
        seconds: Wall time.
    """

    source: str
    day: date
    load: LoadReport | None = None
    error: BatchAssetsError | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    segments: int = 0
    chunks: int = 0
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """The partition."""
        return self.day.isoformat()

    @property
    def ledger(self) -> Ledger:
        """Files found, by what became of them; empty if the load did not end."""
        return self.load.ledger if self.load else Ledger()

    @property
    def documents(self) -> int:
        """Files that this load dealt with."""
        return sum(self.outcomes.values())

    @property
    def is_over_budget(self) -> bool:
        """Whether more documents failed than the source allows."""
        return self.load is not None and self.load.state is LoadState.PARTIAL


def scan_whole(
    connect: Connector,
    source: DocumentSource,
    *,
    now: Callable[[], datetime],
    settle: bool = True,
    seconds: float = float("inf"),
) -> Scanned:
    """Look at a landing folder to its end, scan by scan.

    Args:
        now: Gives the present, aware.
        settle: Look again after `settle_seconds`, 20 at most, if files may still be written.
        seconds: Stop after the scan that passes this.

    Returns:
        The scans' sum; its report has a position if they did not reach the end.

    Raises:
        SourceUnavailable: The folder is not there; nothing was marked as deleted.
        DatabaseUnavailable: The database failed; earlier scans stay recorded.
    """
    ends_at = time.monotonic() + seconds
    scanned = _scan_to_end(connect, source, now, ends_at)
    may_wait = settle and source.settle_seconds <= _MOST_SETTLE_SECONDS
    if may_wait and scanned.report.growing and scanned.report.is_complete:
        time.sleep(source.settle_seconds + _BUSY_POLL_SECONDS)
        again = _scan_to_end(connect, source, now, ends_at)
        kept = replace(
            again.report,
            new=again.report.new + scanned.report.new,
            deleted=again.report.deleted + scanned.report.deleted,
        )
        scanned = Scanned(kept, again.waiting)
    return scanned


def _scan_to_end(
    connect: Connector, source: DocumentSource, now: Callable[[], datetime], ends_at: float
) -> Scanned:
    busy_until = time.monotonic() + _BUSY_WAIT_SECONDS
    total = ScanReport()
    while True:
        scanned = scan_documents(connect, source, now=now(), after=total.position)
        if scanned.report.is_busy and time.monotonic() < min(busy_until, ends_at):
            time.sleep(_BUSY_POLL_SECONDS)
            continue
        total = _sum(total, scanned.report)
        if total.is_complete or total.is_busy or time.monotonic() > ends_at:
            return Scanned(total, scanned.waiting)


def _sum(total: ScanReport, report: ScanReport) -> ScanReport:
    """Counts of both; where the next scan continues is said by the later one."""
    return ScanReport(
        position=report.position,
        listed=total.listed + report.listed,
        new=total.new + report.new,
        changed=total.changed + report.changed,
        growing=total.growing + report.growing,
        refused=total.refused + report.refused,
        deleted=total.deleted + report.deleted,
        withheld=total.withheld + report.withheld,
        unlisted={**(total.unlisted or {}), **(report.unlisted or {})},
        is_busy=report.is_busy,
    )


def ingest_days(
    connect: Connector,
    source: DocumentSource,
    days: Iterable[date],
    *,
    workers: IsolatedWorkers,
    options: IngestOptions | None = None,
    tell: Callable[[date, GroupReport], None] = lambda _day, _group: None,
) -> Iterator[DayIngest]:
    """Read several arrival days of a source, one after the other.

    A day that somebody else is reading, or that cannot be ended, is reported with its error and
    does not stop the others.

    Args:
        workers: Entered.
        tell: Called with each group as soon as it is committed.

    Raises:
        InfrastructureError: Database or workers failed, retries included; the days reported, and
            the groups told, are committed.
    """
    for day in days:
        begun = time.monotonic()
        outcomes: Counter[str] = Counter()
        segments = chunks = 0
        load, error = None, None
        try:
            for group in ingest_documents(connect, source, day, workers=workers, options=options):
                outcomes.update(report.outcome or "changed" for report in group.documents)
                segments += sum(report.segments for report in group.documents)
                chunks += sum(report.chunks for report in group.documents)
                load = group.load or load
                tell(day, group)
        except InfrastructureError:
            raise
        except BatchAssetsError as failure:
            error = failure
        yield DayIngest(
            source=source.name,
            day=day,
            load=load,
            error=error,
            files=_files_of(connect, source.name, day),
            outcomes=outcomes,
            segments=segments,
            chunks=chunks,
            seconds=time.monotonic() - begun,
        )


def _files_of(connect: Connector, source: str, day: date) -> dict[str, int]:
    with closing(connect()) as conn:
        found = read_document_outcomes(conn, source, day)
    files: Counter[str] = Counter()
    for (state, outcome), number in found.items():
        files[outcome if state in ("done", "failed") else state] += number
    return dict(files)
