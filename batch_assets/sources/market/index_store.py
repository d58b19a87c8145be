"""The index of a folder whose files hold many days: on disk, by day, read through memory maps.

A manifest names the files indexed and the runs. A run is an Arrow file of at most a few tens of
megabytes, sorted by day; a day is one slice of each run that has it. A changed file gets a new
number and its rows a new run; rows of numbers no longer listed are dead and passed over. So an
update writes what changed, and nothing is ever merged in memory. index_build.py writes it.
"""

import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.sources.market.contract import COLUMNS

_CONSTANT = frozenset({"source", "adjustment"})
INDEX_SCHEMA = pa.schema(
    [
        *(column for column in COLUMNS if column.name not in _CONSTANT),
        pa.field("file_id", pa.int32()),
        pa.field("row", pa.int64()),
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        ("trade_date", pa.date32()),
        ("file_id", pa.int32()),
        ("row", pa.int64()),
        ("payload", pa.string()),
    ]
)
FORMAT_VERSION = 1
_MANIFEST = "manifest.json"
# Mapped pages count as memory of the process: without this a walk over all days holds the index.
_RELEASE_EVERY_DAYS = 32


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """One source file as it was when it was indexed.

    Attributes:
        name: Relative to the feed's folder.
        parts: Number of each part that positions name: the file itself, or members of a zip.
        size_bytes: Size.
        modified_ns: Modification time.
        sha256: Hash of the bytes.
        read_rows: Records counted.
        indexed_ns: When it was looked at.
        error: Why it could not be read, else empty.
    """

    name: str
    parts: dict[str, int]
    size_bytes: int
    modified_ns: int
    sha256: str
    read_rows: int
    indexed_ns: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One sorted piece.

    Attributes:
        name: Its file.
        file_ids: Numbers of the parts whose rows it holds.
        file_rows: How many rows of each.
        rejected_count: Rows in its file of rejected rows.
        days: First row and row after the last, by ISO date.
    """

    name: str
    file_ids: list[int]
    file_rows: list[int]
    rejected_count: int
    days: dict[str, list[int]]

    @property
    def rejected_name(self) -> str:
        """File of the rejected rows; there is none without such rows."""
        return f"{self.name}.rejected"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index holds.

    Attributes:
        files: Live files by name.
        runs: All runs with live rows.
        days: Hash of each day's live rows, by ISO date.
        next_id: Number of the next file indexed.
    """

    files: dict[str, IndexedFile] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    days: dict[str, str] = field(default_factory=dict)
    next_id: int = 0

    @property
    def live_ids(self) -> dict[int, str]:
        """Names of live parts by number."""
        return {number: name for file in self.files.values() for name, number in file.parts.items()}


def read_manifest(folder: Path) -> Manifest:
    """The manifest, empty if there is none of this format."""
    try:
        stored = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if stored["format"] != FORMAT_VERSION:
            return Manifest()
        return Manifest(
            files={name: IndexedFile(**file) for name, file in stored["files"].items()},
            runs=[Run(**run) for run in stored["runs"]],
            days=stored["days"],
            next_id=stored["next_id"],
        )
    except FileNotFoundError:
        return Manifest()
    except (ValueError, KeyError, TypeError):
        return Manifest()  # not written by us: the index is built again


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step, then remove runs it does not name."""
    stored = {"format": FORMAT_VERSION, **asdict(manifest)}
    handle, name = tempfile.mkstemp(dir=folder, prefix=_MANIFEST)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(stored, stream)
    Path(name).replace(folder / _MANIFEST)
    named = {run.name for run in manifest.runs} | {run.rejected_name for run in manifest.runs}
    for path in folder.glob("run-*"):
        if path.name not in named:
            path.unlink(missing_ok=True)


class IndexReader:
    """Reads the days of one manifest; holds memory maps, not rows."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.names = manifest.live_ids
        self.last_day = max(manifest.days, default="")
        self._folder = folder
        self._live = pa.array(sorted(self.names), pa.int32())
        self._maps: dict[str, _MappedBatch] = {}
        self._days_read = 0

    def read_day(self, day: date) -> pa.RecordBatch:
        """Live rows of a day, INDEX_SCHEMA, ordered by symbol, file and row.

        Raises:
            FileNotFoundError: A newer manifest has replaced this one.
        """
        key = day.isoformat()
        self._days_read += 1
        if self._days_read % _RELEASE_EVERY_DAYS == 0:
            for mapped in self._maps.values():
                mapped.release()
        pieces = []
        for run in self.manifest.runs:
            if key not in run.days:
                continue
            start, end = run.days[key]
            piece = self._map(run.name).slice(start, end - start)
            if not self.names.keys() >= set(run.file_ids):
                piece = piece.filter(pc.is_in(piece.column("file_id"), value_set=self._live))
            pieces.append(piece)
        if len(pieces) == 1:  # runs are sorted
            return pieces[0]
        by = [(name, "ascending") for name in ("symbol", "file_id", "row")]
        rows = pa.Table.from_batches(pieces, INDEX_SCHEMA).sort_by(by).combine_chunks()
        return rows.to_batches()[0] if rows.num_rows else _no_rows()

    def read_rejected(self, day: date | None) -> list[RejectedRow]:
        """Live rejected rows of a day, or those without a day, ordered by file and row.

        Raises:
            FileNotFoundError: A newer manifest has replaced this one.
        """
        found: list[RejectedRow] = []
        for run in self.manifest.runs:
            if not run.rejected_count:
                continue
            batch = self._map(run.rejected_name)
            dates = batch.column("trade_date")
            wanted = pc.is_null(dates) if day is None else pc.equal(dates, pa.scalar(day))
            found += [
                _rejected(row, self.names[row["file_id"]])
                for row in batch.filter(pc.fill_null(wanted, False)).to_pylist()
                if row["file_id"] in self.names
            ]
        return sorted(found, key=lambda row: (row.file, row.row))

    def _map(self, name: str) -> pa.RecordBatch:
        if name not in self._maps:
            self._maps[name] = _MappedBatch(self._folder / name)
        return self._maps[name].batch


class _MappedBatch:
    """The one batch of an Arrow file, in a memory map that can give its pages back."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            self._pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.batch = pa.ipc.open_file(pa.py_buffer(self._pages)).get_batch(0)

    def release(self) -> None:
        """Forget the pages read so far; slices in use fetch theirs again from the file."""
        if hasattr(self._pages, "madvise"):  # not on Windows
            self._pages.madvise(mmap.MADV_DONTNEED)


def _no_rows() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=INDEX_SCHEMA)


def hash_day(rows: pa.RecordBatch, rejected: Sequence[RejectedRow], fingerprint: str) -> str:
    """Identity of a day's rows under a mapping, whatever runs they lie in."""
    digest = hashlib.sha256(f"{fingerprint}\n{rows.num_rows}\n".encode())
    for name, values in zip(INDEX_SCHEMA.names[:-2], rows.columns, strict=False):
        digest.update(f"{name} {values.type} {values.null_count}\n".encode())
        if values.null_count:
            digest.update(pc.is_null(values).to_numpy(zero_copy_only=False).tobytes())
            # What lies under a null is not defined, so it is replaced before it is hashed.
            values = pc.fill_null(values, pa.scalar(_zero(values.type), values.type))
        for piece in _bytes_of(values):
            digest.update(piece)
    for row in rejected:
        digest.update(encode_payload(row).encode())
    return digest.hexdigest()


def _bytes_of(values: pa.Array) -> Iterator[bytes]:
    """The bytes of the values alone, whatever buffer they are a slice of."""
    if not len(values):
        return  # its buffers may be absent
    start, end = values.offset, values.offset + len(values)
    _, content, *text = values.buffers()
    if text:
        offsets = np.frombuffer(content, np.int32)[start : end + 1]
        yield (offsets - offsets[0]).tobytes()
        yield bytes(text[0][int(offsets[0]) : int(offsets[-1])])
    else:
        width = values.type.bit_width // 8
        yield bytes(content[start * width : end * width])


def _zero(type_: pa.DataType) -> Any:
    if pa.types.is_string(type_):
        return ""
    return date(1970, 1, 1) if pa.types.is_date(type_) else 0


def encode_payload(row: RejectedRow) -> str:
    """Violations and original cells as JSON."""
    body = {"violations": [asdict(v) for v in row.violations], "original": dict(row.original)}
    return json.dumps(body, ensure_ascii=False)


def _rejected(row: Mapping[str, Any], name: str) -> RejectedRow:
    body = json.loads(row["payload"])
    return RejectedRow(
        file=name,
        row=row["row"],
        violations=tuple(Violation(**violation) for violation in body["violations"]),
        original=body["original"],
        window_value=row["trade_date"],
    )


def write_batch(path: Path, batch: pa.RecordBatch) -> None:
    """Write one batch as an Arrow file of its own."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def days_of(dates: pa.Array) -> dict[str, list[int]]:
    """Where each day begins and ends in a column sorted by day."""
    encoded = pc.run_end_encode(dates)
    places: dict[str, list[int]] = {}
    start = 0
    for day, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        places[day.isoformat()] = [start, end]
        start = end
    return places


def touched_days(runs: Iterable[Run]) -> set[str]:
    """All days of some runs."""
    return {day for run in runs for day in run.days}
