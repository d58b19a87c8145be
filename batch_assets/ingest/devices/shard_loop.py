"""One shard of the continuous mode: writes batches of the inbox and parts of files.

The lease of the shard is held for as long as the loop runs. Who runs which shard is decided in
continuous.py.
"""

import itertools
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from batch_assets.contracts.table import Scope, Window
from batch_assets.ingest.devices.batch_aim import BatchAim
from batch_assets.ingest.devices.drain import InboxShard
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import ShardPart
from batch_assets.ingest.devices.poison import publish_part
from batch_assets.ingest.devices.shards import StoredMap
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Stream, StreamOptions, open_stream
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.contract import DAILY, RECORDS, WEEKLY
from batch_assets.sources.devices.settings import DeviceSettings

# Between two looks at an empty inbox: the first while records come, the last when none do.
_FIRST_PAUSE_SECONDS = 0.02
_LAST_PAUSE_SECONDS = 0.25
_QUEUED_PARTS = 2
# A broken connection is mended for two seconds or so. A longer absence of the database ends the
# loop, and the supervisor begins it anew: whoever is told to stop meanwhile is not kept waiting.
_RETRIES = 3
_FIRST_WAIT_SECONDS = 0.2

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ContinuousOptions:
    """How the continuous mode runs.

    Attributes:
        settings: `[devices]`.
        root: The landing folder, the same for all hosts; None to take the inbox alone.
        effects: Alerts and messages that follow from records.
        load_seconds: A line of the ledger is closed after that, and the next one begun.
        tick_seconds: Between two looks at who else is there.
    """

    settings: DeviceSettings
    root: Path | None = None
    effects: DeviceEffects = field(default_factory=DeviceEffects)
    load_seconds: float = 900.0
    tick_seconds: float = 1.0

    @property
    def stream(self) -> StreamOptions:
        """Leases and retries of each shard; whoever comes late for one does not wait."""
        return StreamOptions(
            lease_seconds=self.settings.lease_seconds,
            lease_wait_seconds=0.0,
            retries=_RETRIES,
            first_wait_seconds=_FIRST_WAIT_SECONDS,
            personal=self.settings.personal_names,
        )


@dataclass(slots=True)
class ShardLoop:
    """Writes one shard until it is stopped.

    Attributes:
        is_writing: The lease is held.
        tokens: Its lease, unless it was given back: who makes a new loop gives it back first.
        number: Of all loops of this process, in the order in which they were made.
        ledger: Rows committed.
    """

    connect: Connector
    shard: int
    stored: StoredMap
    options: ContinuousOptions
    is_writing: bool = False
    tokens: dict[str, int] = field(default_factory=dict)
    number: int = field(default_factory=_numbers.__next__)
    ledger: Ledger = field(default_factory=Ledger)
    _parts: "queue.Queue[ShardPart]" = field(default_factory=lambda: queue.Queue(_QUEUED_PARTS))
    _stop: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _end: "Future[None]" = field(default_factory=Future)

    def start(self, pool: ThreadPoolExecutor) -> None:
        """Begin, in a thread of its own."""
        self._end = pool.submit(self._run)

    def stop(self) -> None:
        """Finish the batch in hand, give the lease back and end."""
        self._stop.set()
        self._wake.set()

    def join(self) -> BaseException | None:
        """Wait for its end; returns why it ended, None if it was told to."""
        return self._end.exception()

    @property
    def has_ended(self) -> bool:
        """Whether its thread has come to its end."""
        return self._end.done()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stop.is_set()

    def give(self, part: ShardPart) -> bool:
        """Hand a part of a file over; waits while too many are in hand.

        Returns:
            False if the loop has ended meanwhile: the part is not written by it.
        """
        while not (self.has_ended or self.is_stopping):
            try:
                self._parts.put(part, timeout=_LAST_PAUSE_SECONDS)
            except queue.Full:
                continue
            self._wake.set()
            return True
        return False

    def wait_written(self) -> bool:
        """Wait until every part that was handed over is committed.

        Returns:
            False if the loop has ended meanwhile: some may not be.
        """
        with self._parts.all_tasks_done:
            while self._parts.unfinished_tasks:
                if self.has_ended or self.is_stopping:
                    return False
                self._parts.all_tasks_done.wait(_LAST_PAUSE_SECONDS)
        return True

    def _run(self) -> None:
        settings = self.options.settings
        inbox = InboxShard(
            self.shard,
            self.stored,
            settings.batch_rows_max,
            settings.zone,
            self.options.effects,
        )
        aim = BatchAim(settings.batch_rows_min, settings.batch_rows_max, settings.batch_seconds)
        try:
            while not self._stop.is_set():
                self._run_load(inbox, aim)
        finally:
            self.is_writing = False

    def _run_load(self, inbox: InboxShard, aim: BatchAim) -> None:
        """Write for one line of the ledger."""
        contracts, window = (RECORDS, DAILY, WEEKLY), Window(f"shard-{self.shard}")
        ends_at = time.monotonic() + self.options.load_seconds
        longest = min(_LAST_PAUSE_SECONDS, self.options.settings.batch_seconds / 2)
        pause = _FIRST_PAUSE_SECONDS
        with open_stream(self.connect, contracts, Scope(), window, self.options.stream) as stream:
            self.tokens = stream.tokens
            self.is_writing = True
            while not self._stop.is_set() and time.monotonic() < ends_at:
                self._wake.clear()
                wrote_part = self._write_part(stream)
                if self._write_batch(stream, inbox, aim) or wrote_part:
                    pause = _FIRST_PAUSE_SECONDS
                    continue
                self._wake.wait(pause)
                pause = min(2 * pause, longest)
            stream.close(LoadState.SUCCESS)
            self.tokens = {}

    def _write_part(self, stream: Stream) -> bool:
        try:
            part = self._parts.get_nowait()
        except queue.Empty:
            return False
        self.ledger += publish_part(stream, part, self.stored, self.shard, self.options.effects)
        self._parts.task_done()
        return True

    def _write_batch(self, stream: Stream, inbox: InboxShard, aim: BatchAim) -> bool:
        if not aim.is_met(*stream.read(lambda conn: self._look(conn, aim.rows))):
            return False
        ledger = inbox.publish_next(stream)
        aim.learn(ledger.read)
        self.ledger += ledger
        return bool(ledger.read)

    def _look(self, conn: psycopg.Connection, limit_rows: int) -> tuple[int, float]:
        row = conn.execute(
            read_query("look_into_inbox"),
            {"buckets": self.stored.buckets_of(self.shard), "limit_rows": limit_rows},
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always answers
        return row[0], row[1]
