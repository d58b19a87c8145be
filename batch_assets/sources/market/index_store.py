"""The index of a folder whose files hold many days: on disk, by day, read through memory maps.

A manifest names the files indexed and the runs. A run is an Arrow file of at most a few tens of
megabytes, sorted by day; a day is one slice of each run that has it. A changed file gets a new
number and its rows a new run; rows of numbers no longer listed are dead and passed over. So an
update writes what changed, and nothing is ever merged in memory. index_build.py writes it.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

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
    def last_day(self) -> str:
        """The newest day, empty if there is none."""
        return max(self.days, default="")

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


def read_day(folder: Path, manifest: Manifest, day: date) -> pa.Table:
    """Live rows of a day, INDEX_SCHEMA, ordered by symbol, file and row."""
    key = day.isoformat()
    live_ids = manifest.live_ids.keys()
    live = pa.array(sorted(live_ids), pa.int32())
    pieces = []
    for run in manifest.runs:
        if key not in run.days:
            continue
        start, end = run.days[key]
        piece = _map_file(folder / run.name).slice(start, end - start)
        if not live_ids >= set(run.file_ids):
            piece = piece.filter(pc.is_in(piece.column("file_id"), value_set=live))
        pieces.append(piece)
    table = pa.Table.from_batches(pieces, INDEX_SCHEMA)
    order = pc.sort_indices(
        table, sort_keys=[(name, "ascending") for name in ("symbol", "file_id", "row")]
    )
    return table.take(order)


def read_rejected(folder: Path, manifest: Manifest, day: date | None) -> list[RejectedRow]:
    """Live rejected rows of a day, or those without a day, ordered by file and row."""
    names = manifest.live_ids
    found: list[RejectedRow] = []
    for run in manifest.runs:
        if not run.rejected_count:
            continue
        batch = _map_file(folder / run.rejected_name)
        dates = batch.column("trade_date")
        wanted = pc.is_null(dates) if day is None else pc.equal(dates, pa.scalar(day))
        found += [
            _rejected(row, names[row["file_id"]])
            for row in batch.filter(pc.fill_null(wanted, False)).to_pylist()
            if row["file_id"] in names
        ]
    return sorted(found, key=lambda row: (row.file, row.row))


def hash_day(rows: pa.Table, rejected: Sequence[RejectedRow], fingerprint: str) -> str:
    """Identity of a day's rows under a mapping, whatever runs they lie in."""
    digest = hashlib.sha256(f"{fingerprint}\n".encode())
    for name in INDEX_SCHEMA.names[:-2]:
        values = rows.column(name).combine_chunks()
        digest.update(pc.is_valid(values).cast(pa.uint8()).buffers()[1])
        # What lies under a null is not defined, so it is replaced before it is hashed.
        text = pc.fill_null(values, pa.scalar(_zero(values.type), values.type))
        batch = pa.record_batch([text], names=[name])
        digest.update(batch.serialize())
    for row in rejected:
        digest.update(encode_payload(row).encode())
    return digest.hexdigest()


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


def _map_file(path: Path) -> pa.RecordBatch:
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)


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
