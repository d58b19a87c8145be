"""Load the landing files of devices, in parallel shards, each device in order, each row once.

One thread reads and types the files and gives each shard its rows; a thread for each shard writes
them under the lease of the shard. How far each bucket is in each file is committed with its rows,
so that a load that died, or whose shard map changed, is continued to the row.
"""

import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

from batch_assets.contracts.table import Scope, Window
from batch_assets.errors import BatchAssetsError, ShardMapChanged
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.files import (
    WaitingFile,
    list_waiting,
    scan_device_folder,
)
from batch_assets.ingest.devices.parts import ShardPart
from batch_assets.ingest.devices.poison import publish_part
from batch_assets.ingest.devices.reading import FolderReader
from batch_assets.ingest.devices.report import DeviceReport, Outcomes
from batch_assets.ingest.devices.shards import StoredMap, read_shard_map
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Stream, StreamOptions, open_stream
from batch_assets.sources.devices.contract import DAILY, RECORDS, WEEKLY
from batch_assets.sources.devices.files import FORMATS

# Parts that wait for one shard: enough that it never waits for the reader, and bounds the memory.
_QUEUED_PARTS = 2


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How files are loaded; none of it changes what is loaded.

    Attributes:
        shards: Where no map is stored yet.
        batch_rows: Rows that are read at a time; a part of a shard has its share of them.
        zone: Of times that name none.
        settle_seconds: A file written to more recently may still grow.
        formats: Which files count, by the end of their name.
        effects: Alerts and messages that follow from records.
        stream: Leases and retries. A shard that somebody else writes is left to them: two loads
            that wait for each other's shards would both stand still meanwhile.
    """

    shards: int = 4
    batch_rows: int = 40_000
    zone: str = "UTC"
    settle_seconds: float = 2.0
    formats: tuple[str, ...] = FORMATS
    effects: DeviceEffects = field(default_factory=DeviceEffects)
    stream: StreamOptions = field(default_factory=lambda: StreamOptions(lease_wait_seconds=0.0))


def load_device_files(
    connect: Connector,
    root: Path,
    options: DeviceOptions | None = None,
    *,
    until: date | None = None,
) -> DeviceReport:
    """Load what waits in the landing folder.

    Args:
        connect: Opens a connection; two for each shard are open at a time, and one more.
        root: The landing folder.
        until: The last arrival day; files that arrived later are left. Earlier days are not: what
            a device sent first is written first.

    Raises:
        SourceUnavailable: The folder cannot be read.
        DatabaseUnavailable: The database does not answer.
    """
    options = options or DeviceOptions()
    with closing(connect()) as conn:
        settled_before = datetime.now(UTC) - timedelta(seconds=options.settle_seconds)
        scan_device_folder(conn, root, settled_before, options.formats)
        conn.commit()
        load = _Load(connect, conn, root, options, until)
        while load.run_once():
            pass
    return load.outcomes.report()


@dataclass(slots=True)
class _Load:
    connect: Connector
    conn: psycopg.Connection
    root: Path
    options: DeviceOptions
    until: date | None = None
    outcomes: Outcomes = field(default_factory=Outcomes)

    def run_once(self) -> bool:
        """Load what waits by the map in force; true where that map has changed meanwhile."""
        stored = read_shard_map(self.conn, self.options.shards)
        waiting = list_waiting(self.conn, self.until)
        self.conn.commit()
        if not waiting:
            return False
        writers = {
            shard: _ShardWriter(self.connect, shard, stored, self.options)
            for shard in sorted(set(stored.shards))
        }
        with ThreadPoolExecutor(len(writers), "devices") as pool:
            ends = {shard: pool.submit(writer.run) for shard, writer in writers.items()}
            try:
                self._read_files(waiting, stored, writers)
            finally:
                for writer in writers.values():
                    writer.give(None)
        return self.outcomes.add(
            {shard: (writers[shard].ledger, end.exception()) for shard, end in ends.items()}
        )

    def _read_files(
        self,
        waiting: Sequence[WaitingFile],
        stored: StoredMap,
        writers: Mapping[int, "_ShardWriter"],
    ) -> None:
        # Only who holds the shards knows that nobody else moves their progress.
        for writer in writers.values():
            writer.is_ready.wait()
        reader = FolderReader(
            self.conn,
            self.root,
            stored,
            self.options.batch_rows,
            self.options.zone,
            on_failure=self._note_failure,
        )
        if _is_over(writers):
            return
        for parts in reader.read(waiting):
            for shard, part in parts.items():
                writers[shard].give(part)
            if _is_over(writers):
                return

    def _note_failure(self, file: WaitingFile, error: BatchAssetsError) -> None:
        self.outcomes.failed_files[file.path] = str(error)


def _is_over(writers: Mapping[int, "_ShardWriter"]) -> bool:
    """Whether reading on is of no use: nobody writes any more, or by a map of the past."""
    states = writers.values()
    return any(one.is_outdated for one in states) or not any(one.is_writing for one in states)


@dataclass(slots=True)
class _ShardWriter:
    """Writes the parts of one shard, in their order.

    Attributes:
        is_ready: The lease is held, or will not be.
        is_writing: False once it has failed: what it is given after that is left for the next load.
        is_outdated: The map has changed; all rows that are left have to be split anew.
        ledger: Rows committed.
    """

    connect: Connector
    shard: int
    stored: StoredMap
    options: DeviceOptions
    is_ready: threading.Event = field(default_factory=threading.Event)
    is_writing: bool = True
    is_outdated: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    _parts: "queue.Queue[ShardPart | None]" = field(
        default_factory=lambda: queue.Queue(_QUEUED_PARTS)
    )

    def give(self, part: ShardPart | None) -> None:
        """Hand a part over; waits while too many are in hand. None is the end."""
        self._parts.put(part)

    def run(self) -> None:
        """Write until the end is given."""
        is_ended = False
        try:
            window = Window(f"shard-{self.shard}")
            contracts = (RECORDS, DAILY, WEEKLY)
            with open_stream(
                self.connect, contracts, Scope(), window, self.options.stream
            ) as stream:
                self.is_ready.set()
                while (part := self._parts.get()) is not None:
                    self._write(stream, part)
                is_ended = True
                stream.close(LoadState.SUCCESS)
        except ShardMapChanged:
            self.is_outdated = True
            raise
        finally:
            self.is_writing = False
            self.is_ready.set()
            # The reader must not wait for a shard that is no longer written.
            while not is_ended:
                is_ended = self._parts.get() is None

    def _write(self, stream: Stream, part: ShardPart) -> None:
        self.ledger += publish_part(stream, part, self.stored, self.shard, self.options.effects)
