"""Bring the index of a folder up to date: read only what changed, in bounded memory.

The layout on disk is in index_store.py.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from batch_assets.contracts.batch import RejectedRow, SourceBatch
from batch_assets.errors import LedgerImbalance, UnreadableSource
from batch_assets.sources.market.containers import FileIdentity, identify, inside_folder
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.file_names import list_files
from batch_assets.sources.market.index_store import (
    INDEX_SCHEMA,
    REJECTED_SCHEMA,
    IndexedFile,
    IndexReader,
    Manifest,
    Run,
    days_of,
    encode_payload,
    hash_day,
    read_manifest,
    touched_days,
    write_batch,
    write_manifest,
)
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.readers import mapping_fingerprint, read_tables
from batch_assets.sources.market.spellings import Spellings

_log = logging.getLogger(__name__)

# Sorting a run needs about three times its size.
RUN_BYTES = 32 * 1024 * 1024
# A file system may keep times in steps of up to 2 seconds (FAT): a file as young as its index
# can have changed since without a trace, so its content is hashed once more.
_YOUNG_NS = 2_000_000_000
_MAX_RUNS = 40


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an update has to do; `kept` files need nothing but their new time stamps."""

    kept: dict[str, IndexedFile]
    to_read: list[tuple[Path, FileIdentity]]


def update_index(folder: Path, feed: FileFeed, *, now: datetime) -> Manifest:
    """Make the index equal to the feed's files.

    Args:
        folder: Folder of the index; created.
        feed: The mapping.
        now: The present, to tell files too young for their time stamps.

    Raises:
        SourceChanged: A file is being written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now_ns = int(now.timestamp() * 1_000_000_000)
    manifest = read_manifest(folder)
    if _is_current(feed, manifest):
        return manifest
    with FileLock(folder / "lock"):
        manifest = read_manifest(folder)
        plan = _plan(feed, manifest, now_ns)
        updated = _apply(folder, feed, manifest, plan, now_ns)
        if updated != manifest:
            write_manifest(folder, updated)
            _log.info(
                "index of files brought up to date",
                extra={
                    "feed": feed.name,
                    "files": len(updated.files),
                    "files_read": len(plan.to_read),
                    "days": len(updated.days),
                },
            )
    return updated


def _is_current(feed: FileFeed, manifest: Manifest) -> bool:
    paths = list_files(feed)
    if len(paths) != len(manifest.files):
        return False
    return all(
        (file := manifest.files.get(path.relative_to(feed.folder).as_posix())) is not None
        and _is_unchanged(path, file)
        for path in paths
    )


def _is_unchanged(path: Path, file: IndexedFile) -> bool:
    status = path.stat()
    same = (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.modified_ns)
    return same and file.modified_ns + _YOUNG_NS < file.indexed_ns


def _plan(feed: FileFeed, manifest: Manifest, now_ns: int) -> _Plan:
    kept: dict[str, IndexedFile] = {}
    to_read: list[tuple[Path, FileIdentity]] = []
    for path in list_files(feed):
        known = manifest.files.get(inside_folder(path, feed.folder))
        if known is not None and _is_unchanged(path, known):
            kept[known.name] = known
            continue
        identity = identify(path, feed.folder)
        if known is not None and known.sha256 == identity.sha256:
            kept[known.name] = replace(
                known,
                size_bytes=identity.size_bytes,
                modified_ns=identity.modified_ns,
                indexed_ns=now_ns,
            )
        else:
            to_read.append((path, identity))
    return _Plan(kept, to_read)


def _apply(folder: Path, feed: FileFeed, old: Manifest, plan: _Plan, now_ns: int) -> Manifest:
    live = {number for file in plan.kept.values() for number in file.parts.values()}
    if not plan.to_read and len(plan.kept) == len(old.files):
        return replace(old, files=plan.kept)
    runs = [run for run in old.runs if live & set(run.file_ids)]
    if _is_mostly_dead(runs, live):
        everything = [(path, identify(path, feed.folder)) for path in list_files(feed)]
        runs, plan = [], _Plan({}, everything)
    writer = _RunWriter(folder, feed, next_id=old.next_id)
    files = dict(plan.kept)
    for path, identity in plan.to_read:
        files[identity.name] = writer.add(path, identity, now_ns)
    writer.flush()
    if writer.notes:
        _log.info("values adapted", extra={"feed": feed.name, "counts": dict(writer.notes)})
    stale = touched_days(run for run in old.runs if not set(run.file_ids) <= live)
    updated = Manifest(files, [*runs, *writer.runs], dict(old.days), writer.next_id)
    return _rehash(folder, feed, updated, stale | touched_days(writer.runs))


def _is_mostly_dead(runs: list[Run], live: set[int]) -> bool:
    rows = [pair for run in runs for pair in zip(run.file_ids, run.file_rows, strict=True)]
    dead = sum(count for file_id, count in rows if file_id not in live)
    return len(runs) >= _MAX_RUNS or 2 * dead > sum(count for _, count in rows)


def _rehash(folder: Path, feed: FileFeed, manifest: Manifest, days: set[str]) -> Manifest:
    fingerprint = mapping_fingerprint(feed)
    reader = IndexReader(folder, manifest)
    hashes = dict(manifest.days)
    for key in sorted(days):
        day = date.fromisoformat(key)
        rows, rejected = reader.read_day(day), reader.read_rejected(day)
        if rows.num_rows or rejected:
            hashes[key] = hash_day(rows, rejected, fingerprint)
        else:
            hashes.pop(key, None)
    return replace(manifest, days=hashes)


@dataclass(slots=True)
class _RunWriter:
    """Collects rows of many files and writes a run whenever enough are held."""

    folder: Path
    feed: FileFeed
    next_id: int
    runs: list[Run] = field(default_factory=list)
    _parser: BarParser = field(init=False)
    _batches: list[pa.RecordBatch] = field(default_factory=list)
    _rejected: list[tuple[int, RejectedRow]] = field(default_factory=list)
    _held_bytes: int = 0
    _file_rows: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parser = BarParser(self.feed, Spellings(self.feed))

    @property
    def notes(self) -> Counter[str]:
        """What happened to values without costing the row, counted by rule."""
        return self._parser.notes

    def add(self, path: Path, identity: FileIdentity, now_ns: int) -> IndexedFile:
        """Read one file; one that cannot be read is remembered with its error."""
        parts: dict[str, int] = {}
        read_rows, error = 0, ""
        try:
            for name, batch in self._parsed(path, identity):
                if name not in parts:
                    parts[name] = self.next_id
                    self.next_id += 1
                read_rows += batch.read_rows
                self._hold(batch, parts[name])
        except UnreadableSource as unreadable:
            # Rows already held stay dead, because their numbers are given up.
            parts, read_rows, error = {}, 0, str(unreadable)
        return IndexedFile(
            name=identity.name,
            parts=parts,
            size_bytes=identity.size_bytes,
            modified_ns=identity.modified_ns,
            sha256=identity.sha256,
            read_rows=read_rows,
            indexed_ns=now_ns,
            error=error,
        )

    def _parsed(self, path: Path, identity: FileIdentity) -> Iterator[tuple[str, SourceBatch]]:
        for table in read_tables(path, identity, self.feed, self._parser.numbers):
            yield table.file, self._parser.parse(table, None)

    def _hold(self, batch: SourceBatch, file_id: int) -> None:
        if batch.rows.num_rows + len(batch.rejected) != batch.read_rows:
            raise LedgerImbalance(
                f"{batch.rows.num_rows} rows and {len(batch.rejected)} rejected rows, but "
                f"{batch.read_rows} were read; report this file, it shows a fault of the parser"
            )
        self._file_rows[file_id] = self._file_rows.get(file_id, 0) + batch.rows.num_rows
        self._rejected += [(file_id, row) for row in batch.rejected]
        ids = pa.repeat(pa.scalar(file_id, pa.int32()), batch.rows.num_rows)
        held = [batch.rows.column(name) for name in INDEX_SCHEMA.names[:-2]]
        rows = pa.RecordBatch.from_arrays(
            [*held, ids, batch.positions.column("row")], schema=INDEX_SCHEMA
        )
        self._batches.append(rows)
        # A rejected row is a Python object with its cells: 2 KB for a row of 15 columns.
        self._held_bytes += rows.nbytes + 2048 * len(batch.rejected)
        if self._held_bytes >= RUN_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held as one run."""
        if not self._batches:
            return
        name = f"run-{uuid.uuid4().hex}"
        table = pa.Table.from_batches(self._batches, INDEX_SCHEMA)
        order = ("trade_date", "symbol", "file_id", "row")
        table = table.sort_by([(name, "ascending") for name in order])
        rows = table.combine_chunks().to_batches(max_chunksize=max(table.num_rows, 1))
        batch = rows[0] if rows else pa.RecordBatch.from_pylist([], schema=INDEX_SCHEMA)
        write_batch(self.folder / name, batch)
        rejected = self._rejected_batch()
        days = days_of(batch.column("trade_date"))
        for day in pc.unique(rejected.column("trade_date")).to_pylist():
            if day is not None:
                days.setdefault(day.isoformat(), [0, 0])
        file_ids, file_rows = list(self._file_rows), list(self._file_rows.values())
        run = Run(name, file_ids, file_rows, rejected.num_rows, days)
        if rejected.num_rows:
            write_batch(self.folder / run.rejected_name, rejected)
        self.runs.append(run)
        self._batches, self._rejected, self._held_bytes, self._file_rows = [], [], 0, {}

    def _rejected_batch(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(
            [
                {
                    "trade_date": row.window_value,
                    "file_id": file_id,
                    "row": row.row,
                    "payload": encode_payload(row),
                }
                for file_id, row in self._rejected
            ],
            schema=REJECTED_SCHEMA,
        )
