"""What the command line and the HTTP API do with devices: run, load, look, reshard."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.devices.continuous import ContinuousReport, run_continuously
from batch_assets.ingest.devices.days import options_of
from batch_assets.ingest.devices.drain import drain_inbox
from batch_assets.ingest.devices.effects import read_device_effects
from batch_assets.ingest.devices.files import list_waiting, scan_device_folder
from batch_assets.ingest.devices.load import load_device_files
from batch_assets.ingest.devices.relay import relay_after_load, relaying
from batch_assets.ingest.devices.report import DeviceReport
from batch_assets.ingest.devices.shard_loop import ContinuousOptions
from batch_assets.ingest.devices.shards import change_shard_count, read_shard_map
from batch_assets.loading.batch_metrics import (
    BatchSummary,
    delete_batch_metrics,
    summarize_batches,
)
from batch_assets.loading.leases import Connector
from batch_assets.monitoring.silent_devices import SilentDevice, read_silent_devices
from batch_assets.ops.service import ready_database_url
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.devices.contract import RECORDS
from batch_assets.sources.devices.settings import landing_folder, read_device_settings

# Who looks at the state of now wants the batches of now.
_SUMMARY_OF = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard.

    Attributes:
        buckets: Of 256.
        waiting_rows: In the inbox.
        oldest_seconds: How long the oldest of them has waited: the lag; None where none waits.
        holder: Who writes it now; None where nobody does.
        last_error: Of its newest load, None if that went well.
        batches: Of the last hour; None where there were none.
    """

    shard: int
    buckets: int
    waiting_rows: int
    oldest_seconds: float | None
    holder: str | None
    last_error: str | None
    batches: BatchSummary | None


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """How far the devices are.

    Attributes:
        shards: In order; none where nothing has ever been loaded.
        inbox_rows: That wait.
        inbox_rows_max: More are refused.
        oldest_seconds: How long the oldest has waited; None where none waits.
        workers: Workers of the continuous mode that live.
        waiting_files: Not yet loaded to their end.
        failed_files: Given up, with the reason in devices.files.
        batches: Of all shards in the last hour; None where there were none.
    """

    shards: list[ShardStatus]
    inbox_rows: int
    inbox_rows_max: int
    oldest_seconds: float | None
    workers: int
    waiting_files: int
    failed_files: int
    batches: BatchSummary | None


@dataclass(frozen=True, slots=True)
class Resharded:
    """A change of the shard map.

    Attributes:
        moved_buckets: That have another shard than before; their devices' records wait for it.
    """

    shards_before: int
    shards: int
    moved_buckets: int
    version: int


def run_devices(stop: threading.Event, *, with_files: bool = True) -> ContinuousReport:
    """Write what comes until `stop` is set; see ingest/devices/continuous.py."""
    settings = load_settings()
    section = read_device_settings(settings)
    root = landing_folder(settings) if with_files else None
    if root is not None and not root.is_dir():
        raise ConfigurationError(
            f"[devices] landing is {root}, which is no folder; make it, correct it, or run with "
            "--no-files to write the inbox alone"
        )
    options = ContinuousOptions(section, root, read_device_effects(settings))
    connector = _connector(settings)
    with relaying(connector, settings):
        return run_continuously(connector, options, stop)


def load_devices(folder: Path | None = None) -> DeviceReport:
    """Load what waits in the landing folder and in the inbox, once.

    Args:
        folder: Instead of the configured one; where there is neither, the inbox alone is loaded.

    Raises:
        SourceUnavailable: The folder cannot be read.
        DatabaseUnavailable: The database does not answer.
    """
    settings = load_settings()
    root = folder or landing_folder(settings)
    connector, options = _connector(settings), options_of(settings)
    report = DeviceReport({}, {}, {}, 0)
    if root is not None:
        report += load_device_files(connector, root, options)
    report += drain_inbox(connector, options)
    relay_after_load(connector, settings)
    return report


def list_device_work(folder: Path | None = None) -> tuple[list[str], int]:
    """What `load_devices` would load: files by path, and the number of records in the inbox.

    Raises:
        SourceUnavailable: The folder cannot be read.
    """
    settings = load_settings()
    section = read_device_settings(settings)
    root = folder or landing_folder(settings)
    with _reading(settings) as conn:
        if root is not None:
            settled_before = datetime.now(UTC) - timedelta(seconds=section.settle_seconds)
            scan_device_folder(conn, root, settled_before, section.formats)
        files = [file.path for file in list_waiting(conn)]
        found = conn.execute("SELECT count(*) FROM devices.inbox").fetchone()
        conn.rollback()
    return files, found[0] if found else 0


def read_device_status() -> DeviceStatus:
    """How far the devices are, shard by shard."""
    settings = load_settings()
    with _reading(settings) as conn:
        rows = conn.execute(read_query("read_device_shards"), {"target": RECORDS.target}).fetchall()
        batches = {one.shard: one for one in summarize_batches(conn, RECORDS.target, _SUMMARY_OF)}
        files = dict(
            conn.execute("SELECT state, count(*) FROM devices.files GROUP BY state").fetchall()
        )
        workers = conn.execute(
            "SELECT count(*) FROM ops.leases WHERE starts_with(resource, 'devices.workers/') "
            "AND expires_at >= clock_timestamp()"
        ).fetchone()
    shards = [
        ShardStatus(shard, buckets, waiting, oldest, holder, error, batches.get(shard))
        for shard, buckets, waiting, oldest, holder, error in rows
    ]
    ages = [one.oldest_seconds for one in shards if one.oldest_seconds is not None]
    return DeviceStatus(
        shards=shards,
        inbox_rows=sum(one.waiting_rows for one in shards),
        inbox_rows_max=read_device_settings(settings).inbox_rows_max,
        oldest_seconds=max(ages, default=None),
        workers=workers[0] if workers else 0,
        waiting_files=files.get("waiting", 0),
        failed_files=files.get("failed", 0),
        batches=batches.get(None),
    )


def list_silent_devices(settings: Settings, *, limit: int | None = None) -> Sequence[SilentDevice]:
    """Devices that sent records and then stopped, the longest silence first.

    Args:
        settings: Say which silence is one.
        limit: The most to return; None for all.
    """
    with _reading(settings) as conn:
        section = read_device_settings(settings)
        return read_silent_devices(conn, section, datetime.now(UTC), limit=limit)


def reshard(shards: int, *, dry_run: bool = False) -> Resharded:
    """Go over to another number of shards; writers finish their batch, then follow.

    Raises:
        ConfigurationError: Not between 1 and 256 shards.
    """
    settings = load_settings()
    with _reading(settings) as conn:
        before = read_shard_map(conn, read_device_settings(settings).shards)
        after = change_shard_count(conn, shards)
        if dry_run:
            conn.rollback()
        else:
            conn.commit()
    moved = Counter(a != b for a, b in zip(before.shards, after.shards, strict=True))
    return Resharded(len(set(before.shards)), len(set(after.shards)), moved[True], after.version)


def prune_batch_metrics(conn: psycopg.Connection, settings: Settings, now: datetime) -> int:
    """Forget batches older than [devices] says; returns how many. The caller commits.

    Rows of the inbox need no such thing: each goes in the transaction that writes it.
    """
    days = read_device_settings(settings).metrics_keep_days
    return delete_batch_metrics(conn, now.astimezone(UTC) - timedelta(days=days))


@contextmanager
def _reading(settings: Settings) -> Iterator[psycopg.Connection]:
    with translating_errors(), closing(_connector(settings)()) as conn:
        yield conn


def _connector(settings: Settings) -> Connector:
    return partial(
        connect,
        ready_database_url(),
        application_name="batch_assets devices",
        options=settings.database,
    )
