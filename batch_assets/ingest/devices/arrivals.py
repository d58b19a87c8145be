"""What has arrived and waits, and what others have committed since somebody looked last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg

from batch_assets.ingest.devices.files import scan_device_folder
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import landing_folder, read_device_settings


@dataclass(frozen=True, slots=True)
class WaitingDay:
    """Files of one arrival day that are not done.

    Attributes:
        newest_file_id: Row of devices.files: raised by every file that comes.
    """

    day: date
    files: int
    newest_file_id: int


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What waits to be loaded.

    Attributes:
        days: With files, oldest first.
        inbox_seconds: How long the oldest record of the inbox has waited; 0 where none does.
        workers: Workers of the continuous mode that live.
    """

    days: Sequence[WaitingDay]
    inbox_seconds: float
    workers: int


@dataclass(frozen=True, slots=True)
class SeenBatches:
    """Batches committed beside Dagster since the last look.

    Attributes:
        last_batch_id: Of them; 0 where there are none.
        seconds: p50 and p95 of a batch.
        visible_seconds: p50 and p95 from the acceptance of its oldest record to its commit; None
            for files.
        span_seconds: From the end of the first to that of the last.
    """

    last_batch_id: int
    batches: int
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_duplicate: int
    rows_rejected: int
    shards: int
    seconds: Sequence[float] | None
    visible_seconds: Sequence[float] | None
    span_seconds: float | None
    newest_at: datetime | None


def look_at_arrivals(conn: psycopg.Connection, settings: Settings) -> Arrivals:
    """Note what is new in the landing folder, and say what waits. The caller commits.

    Raises:
        SourceUnavailable: The folder cannot be read.
    """
    section = read_device_settings(settings)
    root = landing_folder(settings)
    if root is not None:
        settled_before = datetime.now(UTC) - timedelta(seconds=section.settle_seconds)
        scan_device_folder(conn, root, settled_before, section.formats)
    row = conn.execute(
        "SELECT (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0) "
        "        FROM (SELECT received_at FROM devices.inbox ORDER BY inbox_id LIMIT 1) AS i), "
        "       (SELECT count(*) FROM ops.leases WHERE starts_with(resource, 'devices.workers/') "
        "        AND expires_at >= clock_timestamp())"
    ).fetchone()
    inbox_seconds, workers = row or (0, 0)
    return Arrivals(read_waiting_days(conn), float(inbox_seconds), workers)


def observe_batches(conn: psycopg.Connection, after: int) -> SeenBatches:
    """Batches that neither a run of Dagster nor anybody with a run's name has committed.

    Args:
        after: Those up to this number have been seen.
    """
    row = conn.execute(read_query("observe_device_batches"), {"after": after}).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    return SeenBatches(*row)


def read_waiting_days(conn: psycopg.Connection) -> list[WaitingDay]:
    """Days with files that are not done, oldest first."""
    rows = conn.execute(
        "SELECT f.arrival_day AS day, count(*), max(f.file_id) FROM devices.files AS f "
        "WHERE f.state = 'waiting' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return [WaitingDay(*row) for row in rows]
