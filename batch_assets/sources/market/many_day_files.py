"""A folder whose files each hold many days: indexed once by day, then read by slices."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch_assets.contracts.batch import (
    POSITION_SCHEMA,
    Original,
    RejectedRow,
    SourceBatch,
    Violation,
)
from batch_assets.errors import SourceChanged, UnreadableSource
from batch_assets.sources.market.containers import FileIdentity
from batch_assets.sources.market.contract import COLUMNS
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.file_names import require_folder
from batch_assets.sources.market.index_build import update_index
from batch_assets.sources.market.index_store import (
    IndexReader,
    Manifest,
    read_manifest,
)
from batch_assets.sources.market.judge import Found, build_day_input
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.readers import mapping_fingerprint, read_tables
from batch_assets.sources.market.source import DayInput
from batch_assets.sources.market.spellings import Spellings

# A range run asks for hundreds of days in a row: the folder is looked at again after this time.
LOOK_AGAIN_AFTER = timedelta(seconds=5)


class ManyDaySource:
    """`layout = "by_symbol"`, or a layout whose file names do not tell the day."""

    def __init__(self, feed: FileFeed, cache_dir: Path, *, index_dir: Path | None = None) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._fingerprint = mapping_fingerprint(feed)
        place = hashlib.sha256(str(feed.folder.resolve()).encode()).hexdigest()[:12]
        known_dir = cache_dir / "index" / f"{feed.name}-{place}-{self._fingerprint}"
        self._folder = index_dir or known_dir
        self._reader: IndexReader | None = None
        self._looked_at: datetime | None = None

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource."""
        reader = self._current(now)
        manifest = reader.manifest
        broken = [file for file in manifest.files.values() if file.error]
        found = Found(
            source_hash=manifest.days.get(day.isoformat()),
            source_file=f"{self._feed.files} ({len(manifest.files)} files)",
            holds_many_days=bool(manifest.files),
            ends_before=reader.last_day < day.isoformat(),
            warning=f"{len(broken)} files cannot be read: {broken[0].error}" if broken else "",
        )
        return build_day_input(
            self._feed,
            day,
            found,
            now=now,
            cache_dir=self._cache_dir,
            read=partial(self._read, reader, day),
            notes=Counter(),
        )

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:
        """See MarketSource; also one row, number 0, for each file that cannot be read."""
        reader = self._current(now)
        unreadable = [
            RejectedRow(
                file=file.name,
                row=0,
                violations=(
                    Violation("unreadable_file", "", file.error, "a file the feed can read"),
                ),
                original={},
            )
            for file in reader.manifest.files.values()
            if file.error
        ]
        return (*unreadable, *reader.read_rejected(None))

    def close(self) -> None:
        """Forget the index; its memory maps go with the last batch that was read from it."""
        self._reader = None

    def _current(self, now: datetime) -> IndexReader:
        looked_at, reader = self._looked_at, self._reader
        is_recent = looked_at is not None and timedelta(0) <= now - looked_at < LOOK_AGAIN_AFTER
        if reader is not None and is_recent:
            return reader
        require_folder(self._feed)
        manifest = update_index(self._folder, self._feed, now=now)
        errors = [file.error for file in manifest.files.values() if file.error]
        if errors and len(errors) == len(manifest.files):
            raise UnreadableSource(f"{errors[0]} (none of {len(errors)} files can be read)")
        if reader is None or reader.manifest != manifest:
            reader = IndexReader(self._folder, manifest)
        self._reader, self._looked_at = reader, now
        return reader

    def _read(self, reader: IndexReader, day: date) -> Iterator[SourceBatch]:
        try:
            rows, rejected = reader.read_day(day), reader.read_rejected(day)
        except FileNotFoundError:
            # Another process has brought the index up to date and removed old runs.
            reader = self._same_day_in_newer_index(reader, day)
            rows, rejected = reader.read_day(day), reader.read_rejected(day)
        files = [reader.names[file_id] for file_id in rows.column("file_id").to_pylist()]
        lines = rows.column("row").to_pylist()
        file_names = list(dict.fromkeys(files))
        codes = {name: code for code, name in enumerate(file_names)}
        places = pa.DictionaryArray.from_arrays(
            pa.array([codes[name] for name in files], pa.int32()), pa.array(file_names, pa.string())
        )
        positions = pa.RecordBatch.from_arrays([places, rows.column("row")], schema=POSITION_SCHEMA)

        def originals(indices: Sequence[int]) -> list[Original]:
            return self._originals(
                reader.manifest, [(files[index], lines[index]) for index in indices]
            )

        yield SourceBatch(
            read_rows=rows.num_rows + len(rejected),
            rows=self._content(rows),
            positions=positions,
            originals=originals,
            rejected=tuple(rejected),
        )

    def _same_day_in_newer_index(self, old: IndexReader, day: date) -> IndexReader:
        newer = IndexReader(self._folder, read_manifest(self._folder))
        key = day.isoformat()
        if newer.manifest.days.get(key) != old.manifest.days.get(key):
            raise SourceChanged(
                f"feed {self._feed.name}: the files changed {day} after it was recognised; "
                "nothing was loaded, try again"
            )
        self._reader = newer
        return newer

    def _content(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        constant = {"source": self._feed.source_name, "adjustment": str(self._feed.prices)}
        return pa.RecordBatch.from_arrays(
            [
                pa.repeat(pa.scalar(constant[name]), rows.num_rows)
                if name in constant
                else rows.column(name)
                for name in COLUMNS.names
            ],
            schema=COLUMNS,
        )

    def _originals(self, manifest: Manifest, places: list[tuple[str, int]]) -> list[Original]:
        """Read the cells again; called for few rows, so the index does not store them."""
        found: dict[tuple[str, int], Original] = {}
        wanted = np.array(sorted({line for _, line in places}))
        numbers = BarParser(self._feed, Spellings(self._feed)).numbers
        parts = {name for name, _ in places}
        for file in manifest.files.values():
            if parts.isdisjoint(file.parts):
                continue
            identity = FileIdentity(file.name, file.size_bytes, file.modified_ns, file.sha256)
            for table in read_tables(self._feed.folder / file.name, identity, self._feed, numbers):
                at = np.flatnonzero(np.isin(table.rows, wanted)).tolist()
                cells = table.originals(at)
                found.update(
                    ((table.file, int(table.rows[i])), row)
                    for i, row in zip(at, cells, strict=True)
                )
        return [found[place] for place in places]
