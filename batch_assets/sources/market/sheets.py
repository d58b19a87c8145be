"""Workbooks and Parquet files to raw tables of text.

Cells become the text a person sees in them, so that one set of rules types all formats; a binary
float becomes its shortest decimal, which is what was written into it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch_assets.contracts.batch import Original
from batch_assets.errors import UnreadableSource
from batch_assets.sources.market.columns import locate
from batch_assets.sources.market.containers import FileIdentity, open_checked
from batch_assets.sources.market.csv_blocks import check_places
from batch_assets.sources.market.feed import FileFeed
from batch_assets.sources.market.numbers import NumberColumn, has_numbers
from batch_assets.sources.market.raw_table import RawTable, layout_of

_BATCH_ROWS = 32_768
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00", "GMT"})
_Cell = str | int | float | bool | date | time | datetime | timedelta | None


def read_workbook_tables(path: Path, identity: FileIdentity, feed: FileFeed) -> Iterator[RawTable]:
    """Read one sheet of a workbook.

    The whole sheet is held in memory, as the format demands: about 100 bytes a cell.
    """
    rows = _sheet_rows(path, identity, feed)
    if not any(any(cell != "" for cell in row) for row in rows[feed.skip_lines :]):
        return
    first = feed.skip_lines
    names = [_text(cell) or "" for cell in rows[first]]
    if feed.header:
        first += 1
    else:
        names = [f"column {index}" for index in range(1, len(names) + 1)]
    places, missing = locate(feed.columns, tuple(names))
    check_places(feed, missing, names, identity.name)
    filled = [index for index in range(first, len(rows)) if any(c != "" for c in rows[index])]
    for start in range(0, len(filled), _BATCH_ROWS):
        yield _sheet_table(rows, filled[start : start + _BATCH_ROWS], names, places, identity.name)


def _sheet_rows(path: Path, identity: FileIdentity, feed: FileFeed) -> list[list[_Cell]]:
    # Imported here: only feeds of workbooks need it.
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with open_checked(path, identity) as stream:
            workbook = CalamineWorkbook.from_filelike(stream)
            names = workbook.sheet_names
            if feed.sheet is not None and feed.sheet not in names:
                raise UnreadableSource(
                    f"{identity.name}: has sheets {', '.join(names)}, expected {feed.sheet!r}; "
                    f"correct `sheet` of feed {feed.name}"
                )
            sheet = workbook.get_sheet_by_name(feed.sheet or names[0])
            return [list(row) for row in sheet.to_python(skip_empty_area=False)]
    except CalamineError as error:
        raise UnreadableSource(
            f"{identity.name}: not a readable workbook ({error}); save it again as .xlsx, "
            "without a password"
        ) from error


def _sheet_table(
    rows: list[list[_Cell]],
    chosen: list[int],
    names: list[str],
    places: Mapping[str, int],
    file: str,
) -> RawTable:
    def originals(indices: Sequence[int]) -> list[Original]:
        return [
            dict(zip(names, map(_text, rows[chosen[index]]), strict=False)) for index in indices
        ]

    return RawTable(
        file=file,
        columns={
            target: pa.array([_text(rows[index][place]) for index in chosen], pa.string())
            for target, place in places.items()
        },
        rows=np.array(chosen, np.int64) + 1,
        read_rows=len(chosen),
        column_count=len(names),
        originals=originals,
        layout=layout_of(names, places),
    )


def _text(cell: _Cell) -> str | None:
    if cell is None or cell == "":
        return None
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    return cell.isoformat() if isinstance(cell, date) else str(cell)


def read_parquet_tables(
    path: Path, identity: FileIdentity, feed: FileFeed, numbers: Mapping[str, NumberColumn]
) -> Iterator[RawTable]:
    """Read a Parquet file, one table a batch of rows."""
    # A spelling of null that is a number is looked for in texts.
    exact = {} if has_numbers(feed.nulls) else numbers
    try:
        with open_checked(path, identity) as stream:
            file = pq.ParquetFile(stream)
            names = file.schema_arrow.names
            places, missing = locate(feed.columns, tuple(names))
            check_places(feed, missing, names, identity.name)
            first_row = 1
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                cells = {
                    target: _cells(target, batch.column(place), exact, feed.zone_name)
                    for target, place in places.items()
                }
                yield _parquet_table(batch, cells, places, identity.name, first_row, feed.zone_name)
                first_row += batch.num_rows
    except pa.ArrowException as error:
        raise UnreadableSource(
            f"{identity.name}: not a complete Parquet file ({error}); write or fetch it again"
        ) from error


def _parquet_table(
    batch: pa.RecordBatch,
    cells: dict[str, pa.Array],
    places: Mapping[str, int],
    file: str,
    first_row: int,
    zone_name: str,
) -> RawTable:
    def originals(indices: Sequence[int]) -> list[Original]:
        chosen = batch.take(pa.array(indices, pa.int64()))
        texts = [_column_text(column, zone_name).to_pylist() for column in chosen.columns]
        return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*texts, strict=True)]

    return RawTable(
        file=file,
        columns=cells,
        rows=np.arange(batch.num_rows, dtype=np.int64) + first_row,
        read_rows=batch.num_rows,
        column_count=batch.num_columns,
        originals=originals,
        layout=layout_of(batch.schema.names, places),
    )


def _cells(
    target: str, values: pa.Array, exact: Mapping[str, NumberColumn], zone_name: str
) -> pa.Array:
    """Cells as the parser takes them: exact numbers and days as they are, all else as text."""
    column = exact.get(target)
    kind = values.type
    if column is not None and column.shift is not None and _is_exact(kind):
        # More decimals than the column has, or digits: the parser rounds and judges texts.
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return values.cast(column.read_type)
    if target == "date" and pa.types.is_date32(kind):
        coded = values.dictionary_encode()
        days = _column_text(coded.dictionary, zone_name)
        return pa.DictionaryArray.from_arrays(coded.indices, days)
    return _column_text(values, zone_name)


def _is_exact(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(kind) or pa.types.is_integer(kind))


def _column_text(values: pa.Array, zone_name: str) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        values = pc.strftime(_wall_clock(values, zone_name), format="%Y-%m-%d")
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64()) if values.type != pa.float64() else values
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        # Text whose writer did not say that it is text, as older programs and Spark leave it.
        with contextlib.suppress(pa.ArrowInvalid):
            return values.cast(pa.string())
    if not _is_plain(values.type):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()])
    return values.cast(pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_nested(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _wall_clock(values: pa.Array, zone_name: str) -> pa.Array:
    """Timestamps whose date is the exchange's.

    In the file's own zone, if it names one. UTC is what many programs write for want of a zone: a
    column of midnights there has dates without a time, any other has instants, so that 16:00 is the
    next day in Shanghai.
    """
    if values.type.tz not in _UTC_NAMES:
        return values
    plain = values.cast(pa.timestamp(values.type.unit))
    if pc.all(pc.equal(plain, pc.floor_temporal(plain, unit="day"))).as_py() is not False:
        return plain
    return pc.local_timestamp(values.cast(pa.timestamp(values.type.unit, zone_name)))
