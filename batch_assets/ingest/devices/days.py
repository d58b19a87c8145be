"""Days on which landing files arrived, and what one load made of them.

A load of a day also loads what is left of the days before it: what a device sent first has to be
written first. The inbox has no days; it is emptied with the newest one.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

import psycopg

from batch_assets.ingest.devices.drain import drain_inbox
from batch_assets.ingest.devices.effects import read_device_effects
from batch_assets.ingest.devices.load import DeviceOptions, load_device_files
from batch_assets.ingest.devices.relay import relay_after_load
from batch_assets.ingest.devices.report import DeviceReport
from batch_assets.loading.leases import Connector
from batch_assets.loading.streams import StreamOptions
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.devices.settings import landing_folder, read_device_settings


@dataclass(frozen=True, slots=True)
class ArrivalDay:
    """What a load made of the files of one arrival day.

    Attributes:
        done: Files whose every row is accounted for.
        waiting: Files that are left, because a shard failed.
        failed: Files that cannot be read to their end.
        reasons: Why, file by file.
    """

    day: date
    done: int = 0
    waiting: int = 0
    failed: int = 0
    size_bytes: int = 0
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """Batches of one shard, or of all.

    Attributes:
        shard: None for all together.
        rolled_back: Attempts that left nothing.
        seconds: p50 and p95 of a batch.
        course: Rows per second of each batch, in the order of their ends.
    """

    shard: int | None
    batches: int
    rolled_back: int
    row_count: int
    seconds: tuple[float, float]
    course: Sequence[float]


@dataclass(frozen=True, slots=True)
class DayLoad:
    """What one load did.

    Attributes:
        report: Rows by shard, and what failed.
        inbox: The same of the inbox; None where nothing waited there.
        days: Arrival days that had files.
        load_ids: Rows of ops.loads.
        shards: Batches by shard, all together last; empty where nothing was loaded.
        seconds: In all.
    """

    report: DeviceReport
    inbox: DeviceReport | None
    days: Sequence[ArrivalDay]
    load_ids: Sequence[int]
    shards: Sequence[ShardSummary]
    seconds: float


def options_of(settings: Settings, *, run_id: str | None = None) -> DeviceOptions:
    """How the configuration wants files to be loaded.

    Raises:
        ConfigurationError: `[devices]` is wrong; names the key.
    """
    section = read_device_settings(settings)
    return DeviceOptions(
        shards=section.shards,
        batch_rows=section.file_batch_rows,
        zone=section.zone,
        settle_seconds=section.settle_seconds,
        formats=section.formats,
        effects=read_device_effects(settings),
        stream=StreamOptions(
            lease_seconds=settings.loading.lease_seconds,
            lease_wait_seconds=0.0,
            run_id=run_id,
            personal=section.personal_names,
        ),
    )


def load_day(
    connect: Connector, settings: Settings, until: date, *, run_id: str, empties_inbox: bool
) -> DayLoad:
    """Load what arrived up to a day.

    Args:
        run_id: Shown in the ledger; the loads of this call are found by it.
        empties_inbox: Whether the inbox is written too.

    Raises:
        SourceUnavailable: The landing folder cannot be read.
        DatabaseUnavailable: The database does not answer.
    """
    options = options_of(settings, run_id=run_id)
    root = landing_folder(settings)
    begun = time.monotonic()
    with closing(connect()) as conn:
        since = _now(conn)
        has_inbox = empties_inbox and _has_rows(conn)
    report = DeviceReport({}, {}, {}, 0)
    if root is not None:
        report = load_device_files(connect, root, options, until=until)
    inbox = drain_inbox(connect, options) if has_inbox else None
    relay_after_load(connect, settings)
    with closing(connect()) as conn:
        days = conn.execute(read_query("read_arrival_days"), {"since": since, "until": until})
        load_ids = _load_ids(conn, run_id)
        return DayLoad(
            report,
            inbox,
            [ArrivalDay(*row) for row in days.fetchall()],
            load_ids,
            _summaries(conn, load_ids),
            time.monotonic() - begun,
        )


def _now(conn: psycopg.Connection) -> datetime:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101 - one row, always
    found: datetime = row[0]
    return found


def _has_rows(conn: psycopg.Connection) -> bool:
    return conn.execute("SELECT FROM devices.inbox LIMIT 1").fetchone() is not None


def _load_ids(conn: psycopg.Connection, run_id: str) -> list[int]:
    rows = conn.execute(
        "SELECT load_id FROM ops.loads WHERE run_id = %s AND target = 'devices.records' "
        "ORDER BY load_id",
        (run_id,),
    ).fetchall()
    return [row[0] for row in rows]


def _summaries(conn: psycopg.Connection, load_ids: Sequence[int]) -> list[ShardSummary]:
    rows = conn.execute(
        read_query("summarize_device_loads"), {"load_ids": list(load_ids)}
    ).fetchall()
    return [
        ShardSummary(shard, batches, rolled_back, row_count, (seconds[0], seconds[1]), course)
        for shard, batches, rolled_back, row_count, seconds, course in rows
    ]
