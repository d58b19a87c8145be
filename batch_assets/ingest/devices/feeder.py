"""Give the files of the landing folder to the shards this process writes.

Every host reads every file and hands over the rows of its own shards; how far each bucket is in
each file is in the database, and the file is done when all of them have come to its end.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from batch_assets.errors import BatchAssetsError, InfrastructureError
from batch_assets.ingest.devices.files import (
    WaitingFile,
    list_waiting,
    scan_device_folder,
)
from batch_assets.ingest.devices.reading import FolderReader
from batch_assets.ingest.devices.shard_loop import ContinuousOptions, ShardLoop
from batch_assets.loading.leases import Connector
from batch_assets.postgres.connect import translating_errors

logger = logging.getLogger(__name__)

Loops = Mapping[int, ShardLoop]


@dataclass(slots=True)
class FileFeeder:
    """Looks into the folder again and again, in a thread of its own.

    Attributes:
        loops: The shards this process writes at this moment, by number.
    """

    connect: Connector
    root: Path
    options: ContinuousOptions
    loops: Callable[[], Loops]
    # Files whose rows these very loops have been given, to the end: others have yet to finish them.
    _given: dict[int, frozenset[int]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End at the next part."""
        self._stop.set()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop.wait(self._pass_once()):
            pass

    def _pass_once(self) -> float:
        """Look once; returns the seconds until the next look."""
        seconds = self.options.settings.scan_seconds
        loops = {shard: loop for shard, loop in self.loops().items() if loop.is_writing}
        if len({loop.stored.version for loop in loops.values()}) != 1:
            return min(seconds, self.options.tick_seconds)
        try:
            with translating_errors(), closing(self.connect()) as conn:
                self._scan(conn)
                return seconds if self._feed(conn, loops) else self.options.tick_seconds / 4
        except InfrastructureError as error:
            logger.warning("the landing folder waits: %s", error)
            return seconds

    def _scan(self, conn: psycopg.Connection) -> None:
        settled_for = timedelta(seconds=self.options.settings.settle_seconds)
        settings = self.options.settings
        scan_device_folder(conn, self.root, datetime.now(UTC) - settled_for, settings.formats)
        conn.commit()

    def _feed(self, conn: psycopg.Connection, loops: Loops) -> bool:
        """Hand over what waits; False if the shards have changed meanwhile."""
        waiting = list_waiting(conn)
        conn.commit()
        known = {file.file_id for file in waiting}
        self._given = {file: ids for file, ids in self._given.items() if file in known}
        ours = frozenset(loop.number for loop in loops.values())
        waiting = [file for file in waiting if self._given.get(file.file_id) != ours]
        if not waiting:
            return True
        # What an earlier look has handed over is not in the database before it is written.
        if not all(loop.wait_written() for loop in loops.values()):
            return False
        for parts in self._reader(conn, loops, ours).read(waiting):
            for shard, loop in loops.items():
                if self._stop.is_set() or (shard in parts and not loop.give(parts[shard])):
                    return False
            for span in next(iter(parts.values())).spans if parts else ():
                if span.is_last:
                    self._given[span.file_id] = ours
        return True

    def _reader(self, conn: psycopg.Connection, loops: Loops, ours: frozenset[int]) -> FolderReader:
        def note_failure(file: WaitingFile, error: BatchAssetsError) -> None:
            logger.warning("%s is given up: %s", file.path, error)
            self._given[file.file_id] = ours

        stored, settings = next(iter(loops.values())).stored, self.options.settings
        return FolderReader(
            conn,
            self.root,
            stored,
            settings.batch_rows_max * len(set(stored.shards)),
            settings.zone,
            on_failure=note_failure,
            buckets=[bucket for shard in loops for bucket in stored.buckets_of(shard)],
        )
