"""Read what waits in the landing folder, as parts for the shards: small files together.

A transaction of a shard costs as much for twenty rows as for a thousand. So small files that
follow each other are one batch, with rows numbered through; each of them keeps its place in
devices.files, its progress and its dead letters. A large file is read batch by batch.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from batch_assets.errors import BatchAssetsError, SourceChanged, UnreadableSource
from batch_assets.ingest.devices.files import (
    WaitingFile,
    fail_file,
    hash_file,
    read_bytes,
    read_progress,
)
from batch_assets.ingest.devices.parts import FileSpan, Progress, ShardPart, split_batch
from batch_assets.ingest.devices.shards import StoredMap
from batch_assets.sources.devices.bodies import DeviceBatch
from batch_assets.sources.devices.files import read_batches
from batch_assets.sources.devices.shards import BUCKETS
from batch_assets.sources.devices.small_files import (
    SMALL_FILE_BYTES,
    Gathering,
    SmallFile,
    read_small_file,
)

# The most files of one part: its transaction holds as many rows of devices.files.
GATHERED_FILES = 1_000

Parts = Mapping[int, ShardPart]
"""By shard."""


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads files in their order, and gives up those that cannot be read.

    Attributes:
        conn: For progress and failures; committed after each.
        root: The landing folder.
        stored: The map by which rows are given to shards.
        batch_rows: Upper bound of the rows in a batch.
        zone: Of times that name none.
        buckets: Those whose rows are wanted; of a file that has begun, rows are read from where the
            last of them is.
        on_failure: Told of each file that is given up, and why.
    """

    conn: psycopg.Connection
    root: Path
    stored: StoredMap
    batch_rows: int
    zone: str
    on_failure: Callable[[WaitingFile, BatchAssetsError], None]
    buckets: Collection[int] = range(BUCKETS)

    def read(self, waiting: Sequence[WaitingFile]) -> Iterator[Parts]:
        """Parts of consecutive files; a file is at its end where its span says so."""
        for first in range(0, len(waiting), GATHERED_FILES):
            files = waiting[first : first + GATHERED_FILES]
            progress = read_progress(self.conn, [file.file_id for file in files])
            self.conn.commit()
            yield from self._read_some(files, progress)

    def _read_some(self, files: Sequence[WaitingFile], progress: Progress) -> Iterator[Parts]:
        gathered = _Gathered(self, progress)
        for file in files:
            try:
                small = self._read_small(file, progress)
                if small is not None:
                    if not gathered.rows.has_room_for(small, self.batch_rows):
                        yield from gathered.take()
                    gathered.add(file, small)
                    continue
                # What came before is written before.
                yield from gathered.take()
                yield from self._read_large(file, progress)
            except (UnreadableSource, SourceChanged) as error:
                fail_file(self.conn, file.file_id, error)
                self.conn.commit()
                self.on_failure(file, error)
        yield from gathered.take()

    def begins_after(self, file: WaitingFile, progress: Progress) -> int:
        """The row up to which nothing of a file is wanted any more."""
        done = progress.get(file.file_id)
        return min(done[bucket] for bucket in self.buckets) if done else 0

    def _read_small(self, file: WaitingFile, progress: Progress) -> SmallFile | None:
        if file.size_bytes > SMALL_FILE_BYTES:
            return None
        path = self.root / file.path
        if not path.is_file():
            raise _is_another(file)
        content = read_bytes(path, SMALL_FILE_BYTES + 1)
        if len(content) > SMALL_FILE_BYTES:
            return None
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise _is_another(file)
        return read_small_file(
            path,
            file.path,
            content,
            after_row=self.begins_after(file, progress),
            rows_max=self.batch_rows,
            zone=self.zone,
        )

    def _read_large(self, file: WaitingFile, progress: Progress) -> Iterator[Parts]:
        path = self.root / file.path
        if not path.is_file() or hash_file(path) != file.sha256:
            raise _is_another(file)
        last_row = self.begins_after(file, progress)
        for batch in read_batches(
            path, file.path, after_row=last_row, batch_rows=self.batch_rows, zone=self.zone
        ):
            last_row = batch.last_row
            yield self.split(batch, [FileSpan(file.file_id, file.path, 0, last_row)], progress)
        if hash_file(path) != file.sha256:
            raise SourceChanged(
                f"{file.path}: changed while it was read; rows of both contents may be loaded; "
                "it is loaded whole by the next load; move files into the folder when complete"
            )
        last_row = max(last_row, *progress.get(file.file_id, (0,)))
        end = FileSpan(file.file_id, file.path, 0, last_row, is_last=True)
        yield self.split(DeviceBatch(last_row, 0, {}), [end], progress)

    def split(self, batch: DeviceBatch, spans: Sequence[FileSpan], progress: Progress) -> Parts:
        """The parts of a batch."""
        return split_batch(batch, self.stored, spans, progress)


@dataclass(slots=True)
class _Gathered:
    """Small files that wait for each other."""

    reader: FolderReader
    progress: Progress
    rows: Gathering = field(init=False)
    spans: list[FileSpan] = field(init=False)

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.rows = Gathering(self.reader.zone)
        self.spans = []

    def add(self, file: WaitingFile, small: SmallFile) -> None:
        last_row = max(small.last_row, *self.progress.get(file.file_id, (0,)))
        offset = self.rows.add(small, last_row)
        self.spans.append(FileSpan(file.file_id, file.path, offset, last_row, is_last=True))

    def take(self) -> Iterator[Parts]:
        """What has been gathered, as one batch; begins anew."""
        rows, spans = self.rows, self.spans
        self._begin()
        if spans:
            yield self.reader.split(rows.read(), spans, self.progress)


def _is_another(file: WaitingFile) -> SourceChanged:
    return SourceChanged(
        f"{file.path}: is gone or has another content than when it was found; what it "
        "has now is loaded as another file by the next load"
    )
