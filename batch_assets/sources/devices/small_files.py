"""Small files of device records, read together: their rows are numbered through, as one batch.

Typing twenty rows costs as many calls of Arrow as typing twenty thousand. Lines of NDJSON, and rows
of CSV with the same header, wait until they are typed together; Parquet is typed file by file.
Which files go together, and what becomes of them, belongs in `ingest/devices/reading.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.devices.bodies import DeviceBatch, read_bodies
from batch_assets.sources.devices.files import (
    CsvRow,
    Layout,
    Source,
    kind_of,
    open_csv,
    read_batches,
    read_lines,
    refusing_damage,
    type_csv_rows,
)
from batch_assets.sources.devices.parse import RecordKind

# As packed, and unpacked: how much of small files is in memory at a time.
SMALL_FILE_BYTES = 1024 * 1024
GATHERED_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SmallFile:
    """Rows of one file, numbered as in the file.

    Attributes:
        last_row: The file ends here, from 1.
        row_count: Lines or rows that are left to be typed or were typed.
        size_bytes: Of what is not typed yet.
        lines: Of NDJSON: row number and text, not typed yet.
        layout: Of CSV: what its columns are.
        cells: Of CSV: rows that are not typed yet.
        batches: Typed already.
    """

    last_row: int
    row_count: int
    size_bytes: int = 0
    lines: Sequence[tuple[int, bytes]] = ()
    layout: Layout | None = None
    cells: Sequence[CsvRow] = ()
    batches: Sequence[DeviceBatch] = ()


def read_small_file(
    path: Path, name: str, content: bytes, *, after_row: int, rows_max: int, zone: str
) -> SmallFile | None:
    """Read a file that is in memory.

    Args:
        name: How messages call the file.
        after_row: Rows up to this one are left out.
        rows_max: Most rows that go together.

    Returns:
        None where it unpacks to more than goes together: it has to be read batch by batch.

    Raises:
        UnreadableSource: It is no such file, or is cut off.
    """
    read_alone = _NOT_TYPED.get(kind_of(path))
    if read_alone is not None:
        with refusing_damage(name):
            return read_alone(Source(path, name, content), after_row, rows_max)
    batches: list[DeviceBatch] = []
    rows = 0
    for batch in read_batches(
        path, name, content=content, after_row=after_row, batch_rows=rows_max, zone=zone
    ):
        rows += batch.read_rows
        if rows > rows_max:
            return None
        batches.append(batch)
    return SmallFile(batches[-1].last_row if batches else 0, rows, batches=batches)


def _read_lines(source: Source, after_row: int, rows_max: int) -> SmallFile | None:
    lines: list[tuple[int, bytes]] = []
    number = size_bytes = 0
    with source.open() as stream:
        for line in read_lines(stream):
            number += 1
            if number <= after_row or not line or line.isspace():
                continue
            lines.append((number, line))
            size_bytes += len(line)
            if len(lines) > rows_max or size_bytes > GATHERED_BYTES:
                return None
    return SmallFile(number, len(lines), size_bytes, lines=lines)


def _read_cells(source: Source, after_row: int, rows_max: int) -> SmallFile | None:
    cells: list[CsvRow] = []
    number = size_bytes = 0
    with open_csv(source) as (layout, rows):
        for number, row in rows:
            if number <= after_row or not row:
                continue
            cells.append((number, row))
            size_bytes += sum(map(len, row))
            if len(cells) > rows_max or size_bytes > GATHERED_BYTES:
                return None
    return SmallFile(number, len(cells), size_bytes, layout=layout, cells=cells)


_NOT_TYPED = {".ndjson": _read_lines, ".jsonl": _read_lines, ".csv": _read_cells}


@dataclass(slots=True)
class Gathering:
    """Small files that are read as one batch.

    Attributes:
        zone: Of times that name none.
        last_row: Row of the batch with which the last file ends.
        row_count: Rows of all files.
        size_bytes: Of what is not typed yet.
    """

    zone: str
    last_row: int = 0
    row_count: int = 0
    size_bytes: int = 0
    _lines: list[tuple[int, bytes]] = field(default_factory=list)
    _cells: dict[tuple[str, ...], tuple[Layout, list[CsvRow]]] = field(default_factory=dict)
    _batches: list[DeviceBatch] = field(default_factory=list)

    def has_room_for(self, file: SmallFile, rows_max: int) -> bool:
        """Whether a file may be added."""
        return (
            self.row_count + file.row_count <= rows_max
            and self.size_bytes + file.size_bytes <= GATHERED_BYTES
        )

    def add(self, file: SmallFile, last_row: int) -> int:
        """Put a file behind the others.

        Args:
            last_row: Rows of the batch that are kept for it, whether there are as many or not.

        Returns:
            What is added to the numbers of its rows.
        """
        offset = self.last_row
        self.last_row += last_row
        self.row_count += file.row_count
        self.size_bytes += file.size_bytes
        self._lines.extend((offset + number, line) for number, line in file.lines)
        if file.layout is not None:
            _, cells = self._cells.setdefault(tuple(file.layout.names), (file.layout, []))
            cells.extend((offset + number, row) for number, row in file.cells)
        self._batches.extend(_renumbered(batch, offset) for batch in file.batches)
        return offset

    def read(self) -> DeviceBatch:
        """All rows as one batch; dead letters have the batch's numbers, and no file."""
        batches = list(self._batches)
        if self._lines:
            batches.append(read_bodies(self._lines, self.last_row, "", self.zone))
        for layout, cells in self._cells.values():
            batches.append(type_csv_rows(layout, cells, self.last_row, "", self.zone))
        found: dict[RecordKind, list[pa.RecordBatch]] = {}
        for batch in batches:
            for kind, rows in batch.rows.items():
                found.setdefault(kind, []).append(rows)
        return DeviceBatch(
            self.last_row,
            sum(batch.read_rows for batch in batches),
            {kind: pa.concat_batches(rows) for kind, rows in found.items()},
            tuple(row for batch in batches for row in batch.rejected),
        )


def _renumbered(batch: DeviceBatch, offset: int) -> DeviceBatch:
    if not offset:
        return batch
    return DeviceBatch(
        batch.last_row + offset,
        batch.read_rows,
        {kind: _rows_from(rows, offset) for kind, rows in batch.rows.items()},
        tuple(replace(row, row=row.row + offset) for row in batch.rejected),
    )


def _rows_from(rows: pa.RecordBatch, offset: int) -> pa.RecordBatch:
    place = rows.schema.get_field_index("row_number")
    return rows.set_column(
        place, rows.schema.field(place), pc.add(rows.column(place), pa.scalar(offset, pa.int64()))
    )
