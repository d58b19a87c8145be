"""Look at the landing folder of a source: the transaction around one scan."""

from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

from batch_assets.loading.leases import Connector
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.documents.landing import ScanReport, read_waiting_days, scan_source
from batch_assets.sources.documents.landing_folder import open_folder
from batch_assets.sources.documents.sources import DocumentSource


@dataclass(frozen=True, slots=True)
class Scanned:
    """One scan, and the days that have files to read after it, oldest first."""

    report: ScanReport
    waiting: dict[date, int]


def scan_documents(
    connect: Connector, source: DocumentSource, *, now: datetime, after: str = ""
) -> Scanned:
    """Scan a source once, within its bounds.

    Args:
        now: The present, aware.
        after: `report.position` of the scan before; empty to begin.

    Raises:
        SourceUnavailable: The folder is not there; nothing was marked as deleted.
        DatabaseUnavailable: The database failed; nothing was recorded.
    """
    with translating_errors(), closing(connect()) as conn:
        report = scan_source(conn, source, open_folder(source), now=now, after=after)
        conn.commit()
        waiting = read_waiting_days(conn, source.name)
        conn.commit()
    return Scanned(report, waiting)
