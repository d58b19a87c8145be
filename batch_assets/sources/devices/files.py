"""Landing files of device records: NDJSON, CSV and Parquet, plain or packed (gz, zst)."""

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from batch_assets.contracts.batch import Original, RejectedRow, Violation
from batch_assets.errors import UnreadableSource
from batch_assets.sources.devices.bodies import DeviceBatch, read_bodies
from batch_assets.sources.devices.contract import METRICS
from batch_assets.sources.devices.parse import (
    DEVICE_NAMES,
    MOMENT_NAMES,
    RawRows,
    RecordKind,
    type_rows,
)

# A body of the old clients has 300 bytes; a line without an end must not fill the memory.
MAX_LINE_BYTES = 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
FORMATS = ("ndjson", "jsonl", "csv", "parquet")
_PACKED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes of a file.

    Attributes:
        path: Says by its end what they are.
        name: How dead letters call the file.
        content: The bytes, where they are in memory; else the path is read.
    """

    path: Path
    name: str
    content: bytes | None = None

    def open(self) -> pa.NativeFile:
        """The bytes as they were before they were packed."""
        compression = _PACKED.get(self.path.suffix.lower())
        place = str(self.path) if self.content is None else pa.py_buffer(self.content)
        return pa.input_stream(place, compression=compression)


CsvRow = tuple[int, list[str]]
"""Row number, from 1 below the header, and fields."""
Reader = Callable[[Source, int, int, str], Iterator[DeviceBatch]]


def is_device_file(path: Path, formats: Collection[str] = FORMATS) -> bool:
    """Whether the name says that it is a file of device records, in one of some formats."""
    kind = kind_of(path)
    return kind in _READERS and kind.removeprefix(".") in formats


def read_batches(
    path: Path,
    name: str,
    *,
    content: bytes | None = None,
    after_row: int = 0,
    batch_rows: int = 20_000,
    zone: str = "UTC",
) -> Iterator[DeviceBatch]:
    """Read a file in order.

    Args:
        name: How dead letters call the file.
        content: Its bytes, where they are in memory already.
        after_row: Rows up to this one are left out; counted from 1, a header is no row.
        batch_rows: Upper bound of the rows in a batch.
        zone: Of times that name none.

    Raises:
        UnreadableSource: It is no such file, or is cut off.
    """
    reader = _READERS.get(kind_of(path))
    if reader is None:
        raise UnreadableSource(
            f"{name}: the name ends with '{path.suffix}', expected {', '.join(_READERS)}, also "
            "with .gz or .zst; rename the file"
        )
    with refusing_damage(name):
        yield from reader(Source(path, name, content), after_row, batch_rows, zone)


@contextmanager
def refusing_damage(name: str) -> Iterator[None]:
    """Say of a file that ends too early, or is packed wrongly, that it cannot be read.

    Raises:
        UnreadableSource: The body failed so.
    """
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        raise UnreadableSource(
            f"{name}: cannot be read to its end ({error}); what came before is loaded; copy the "
            "file again, it may be cut off"
        ) from error


def kind_of(path: Path) -> str:
    """The end of a name that says the format, without that of its packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_ndjson(
    source: Source, after_row: int, batch_rows: int, zone: str
) -> Iterator[DeviceBatch]:
    with source.open() as stream:
        waiting: list[tuple[int, bytes]] = []
        number = 0
        for line in read_lines(stream):
            number += 1
            if number <= after_row or not line or line.isspace():
                continue
            waiting.append((number, line))
            if len(waiting) >= batch_rows:
                yield read_bodies(waiting, number, source.name, zone)
                waiting = []
        if waiting:
            yield read_bodies(waiting, number, source.name, zone)


def read_lines(stream: pa.NativeFile) -> Iterator[bytes]:
    """Lines without their ends; of one that is too long its beginning, which is no JSON."""
    rest = b""
    is_too_long = False
    while block := stream.read(_BLOCK_BYTES):
        lines = (rest + block).split(b"\n")
        # Only the first of them can be longer than a block.
        lines[0] = rest if is_too_long else lines[0][:MAX_LINE_BYTES]
        is_too_long = len(lines) == 1 and len(lines[0]) == MAX_LINE_BYTES
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest


def _read_csv(source: Source, after_row: int, batch_rows: int, zone: str) -> Iterator[DeviceBatch]:
    with open_csv(source) as (layout, lines):
        rows: list[CsvRow] = []
        number = 0
        for number, row in lines:
            if row and number > after_row:
                rows.append((number, row))
            if len(rows) >= batch_rows:
                yield type_csv_rows(layout, rows, number, source.name, zone)
                rows = []
        if rows:
            yield type_csv_rows(layout, rows, number, source.name, zone)


@contextmanager
def open_csv(source: Source) -> Iterator[tuple["Layout", Iterator[CsvRow]]]:
    """What the columns of a CSV file are, and its rows; empty ones are counted too.

    Raises:
        UnreadableSource: It is no such file, or the body met what is no CSV.
    """
    with source.open() as packed, io.BufferedReader(packed, 1 << 20) as stream:
        # A byte that is no UTF-8 stays visible, and costs no more than its value.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="backslashreplace", newline="")
        reader = csv.reader(text, strict=True)
        try:
            layout = _layout([field.strip() for field in next(reader, [])], source.name)
            yield layout, enumerate(reader, 1)
        except csv.Error as error:
            raise UnreadableSource(
                f"{source.name}: line {reader.line_num} is no CSV ({error}); what came before is "
                "loaded; mend the quotes of that line, and save the file again"
            ) from error


def type_csv_rows(
    layout: "Layout", rows: Sequence[CsvRow], last_row: int, name: str, zone: str
) -> DeviceBatch:
    """Type rows of one layout; those with other numbers of fields are dead letters."""
    width = len(layout.names)
    good = [row for row in rows if len(row[1]) == width]
    rejected = [_wrong_width(name, row, layout.names) for row in rows if len(row[1]) != width]
    columns = [
        pa.array(values, pa.string())
        for values in zip(*(values for _, values in good), strict=True)
    ] or [pa.nulls(0, pa.string())] * width
    table = pa.record_batch(columns, names=layout.keys)
    numbers = pa.array([number for number, _ in good], pa.int64())
    return _flat_batch(layout, table, numbers, last_row, name, zone, rejected)


def _wrong_width(file: str, row: tuple[int, list[str]], names: list[str]) -> RejectedRow:
    number, values = row
    violation = Violation(
        "wrong_number_of_fields",
        "",
        f"{len(values)} fields",
        f"{len(names)} fields, as in the header",
        "mend the line: a comma inside a value needs quotes around the value",
    )
    beyond = [f"field {place + 1}" for place in range(len(names), len(values))]
    return RejectedRow(
        file, number, (violation,), dict(zip([*names, *beyond], values, strict=False))
    )


def _read_parquet(
    source: Source, after_row: int, batch_rows: int, zone: str
) -> Iterator[DeviceBatch]:
    name = source.name
    if source.path.suffix.lower() in _PACKED:
        raise UnreadableSource(
            f"{name}: a packed Parquet file, expected a plain one (its columns are packed "
            "already); unpack it"
        )
    import pyarrow.parquet as pq

    place = source.path if source.content is None else pa.BufferReader(source.content)
    with pq.ParquetFile(place) as file:
        names = file.schema_arrow.names
        layout = _layout(names, name)
        number = 0
        for batch in file.iter_batches(batch_size=batch_rows):
            first, number = number, number + batch.num_rows
            if number <= after_row:
                continue
            left_out = max(0, after_row - first)
            kept = batch.slice(left_out)
            table = pa.record_batch(list(kept.columns), names=layout.keys)
            numbers = pa.array(range(first + left_out + 1, number + 1), pa.int64())
            yield _flat_batch(layout, table, numbers, number, name, zone, [])


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a flat file are.

    Attributes:
        names: As the file has them.
        keys: The same, each once.
        kind: The table its rows belong to.
        device: Key of the serial number; None where there is none.
        moment: Key of the moment, day or week.
        metrics: Key by column of the contract.
    """

    names: list[str]
    keys: list[str]
    kind: RecordKind
    device: str | None
    moment: str
    metrics: Mapping[str, str]


def _layout(names: list[str], file: str) -> Layout:
    keys = [name if name not in names[:place] else f"{name}#{place}"
            for place, name in enumerate(names)]  # fmt: skip
    device = next((name for name in DEVICE_NAMES if name in keys), None)
    for kind, moment_names in MOMENT_NAMES.items():
        moment = next((name for name in moment_names if name in keys), None)
        if moment is not None and device is not None:
            metrics = {
                metric.column: found
                for metric in METRICS
                if (found := next((n for n in (metric.column, *metric.names) if n in keys), None))
            }
            return Layout(names, keys, kind, device, moment, metrics)
    raise UnreadableSource(
        f"{file}: has the columns {', '.join(names) or '(none)'}, expected device_sn and one of "
        "measured_at, day or week; name the columns in the first line"
    )


def _flat_batch(
    layout: Layout,
    table: pa.RecordBatch,
    numbers: pa.Array,
    last_row: int,
    file: str,
    zone: str,
    rejected: list[RejectedRow],
) -> DeviceBatch:
    def original(index: int) -> Original:
        return {key: _text(table.column(key)[index]) for key in layout.keys}

    assert layout.device is not None  # noqa: S101 - _layout refuses such a file
    known = {layout.device, layout.moment, *layout.metrics.values()}
    raw = RawRows(
        kind=layout.kind,
        device_sn=table.column(layout.device),
        moment=table.column(layout.moment),
        metrics={name: table.column(key) for name, key in layout.metrics.items()},
        extra=_extra(table, [key for key in layout.keys if key not in known]),
        row_number=numbers,
        original=original,
    )
    typed = type_rows(raw, file, zone)
    return DeviceBatch(
        last_row,
        table.num_rows + len(rejected),
        {layout.kind: typed.rows},
        (*rejected, *typed.rejected),
    )


def _text(value: pa.Scalar) -> str | None:
    if not value.is_valid:
        return None
    try:
        return str(value.as_py())
    except (OverflowError, ValueError):
        # A moment that Python has no date for.
        return str(value.cast(pa.string()))


def _extra(table: pa.RecordBatch, keys: list[str]) -> pa.Array:
    """What the contract has no column for, as JSON; empty fields are left out."""
    if not keys:
        return pa.nulls(table.num_rows, pa.string())
    texts = []
    for row in table.select(keys).to_pylist():
        kept = {key: value for key, value in row.items() if value not in (None, "")}
        texts.append(json.dumps(kept, ensure_ascii=False, default=str) if kept else None)
    return pa.array(texts, pa.string())


_READERS: Mapping[str, Reader] = {
    ".ndjson": _read_ndjson,
    ".jsonl": _read_ndjson,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
