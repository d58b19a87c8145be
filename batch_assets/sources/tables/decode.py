"""COPY (FORMAT csv) to Arrow: exact values, NULL told from the empty text.

Decoded by pyarrow's reader, which is as fast as the server writes the text; binary COPY has no
reader that does not loop over rows.
"""

import io
from collections.abc import Iterable, Iterator, Sequence

import psycopg
import pyarrow as pa

from batch_assets.errors import UnreadableSource
from batch_assets.postgres.result_columns import ResultColumn

# Rows of a block are decoded together: with 4 MB a table of 100 bytes a row gives 40,000 rows.
BLOCK_BYTES = 4 * 1024 * 1024

_BYTEA, _NUMERIC = 17, 1700
_ARROW_TYPES = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}


def arrow_type_of(column: ResultColumn) -> pa.DataType:
    """The Arrow type a column is decoded to; what Arrow has no exact type for stays text."""
    if column.type_oid == _NUMERIC and column.type_modifier >= 0:
        modifier = column.type_modifier - 4
        precision, scale = modifier >> 16, modifier & 0x7FF
        if precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    if column.type_oid == _BYTEA:
        return pa.binary()
    return _ARROW_TYPES.get(column.type_oid, pa.string())


def prepare_session(conn: psycopg.Connection) -> None:
    """Make the server write texts that mean the same to every reader, for the connection's life."""
    conn.execute("SET DateStyle = 'ISO'")
    conn.execute("SET TimeZone = 'UTC'")
    conn.execute("SET IntervalStyle = 'iso_8601'")
    conn.execute("SET bytea_output = 'hex'")
    conn.execute("SET extra_float_digits = 1")


def read_arrow(
    buffers: Iterable[bytes | bytearray], columns: Sequence[ResultColumn]
) -> Iterator[pa.RecordBatch]:
    """Decode a CSV stream.

    Yields:
        Batches with one field for each column; none is empty.

    Raises:
        UnreadableSource: A value that Arrow cannot hold, `infinity` for example.
    """
    from pyarrow import csv

    names = [column.name for column in columns]
    types = {column.name: arrow_type_of(column) for column in columns}
    texts = {name: pa.string() if pa.types.is_binary(t) else t for name, t in types.items()}
    source = io.BufferedReader(_Buffers(iter(buffers)), BLOCK_BYTES)
    try:
        reader = csv.open_csv(
            source,
            read_options=csv.ReadOptions(column_names=names, block_size=BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=texts,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        for batch in reader:
            if batch.num_rows:
                yield _with_bytes(batch, types)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise UnreadableSource(
            f"the source sent a value that Arrow cannot hold: {error}; expected values within "
            "Arrow's types; cast the column to text in the transfer, or leave such rows out"
        ) from error


def _with_bytes(batch: pa.RecordBatch, types: dict[str, pa.DataType]) -> pa.RecordBatch:
    """Texts of bytea columns as bytes."""
    for place, (name, kind) in enumerate(types.items()):
        if pa.types.is_binary(kind):
            values = [
                None if text is None else bytes.fromhex(text[2:])
                for text in batch.column(place).to_pylist()
            ]
            batch = batch.set_column(place, name, pa.array(values, kind))
    return batch


class _Buffers(io.RawIOBase):
    """Buffers as a file."""

    def __init__(self, buffers: Iterator[bytes | bytearray]) -> None:
        self._buffers = buffers
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """It is, and nothing else."""
        return True

    def readinto(self, target: "bytearray | memoryview") -> int:  # type: ignore[override]  # reason: every Buffer is one of these here
        """Fill part of `target`."""
        if not len(self._left):
            self._left = memoryview(next(self._buffers, b""))
        count = min(len(target), len(self._left))
        target[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
