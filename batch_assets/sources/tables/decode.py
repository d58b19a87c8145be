"""COPY (FORMAT csv) to Arrow: exact values, NULL told from the empty text.

Decoded by pyarrow's reader, which is as fast as the server writes the text; binary COPY has no
reader that does not loop over rows.
"""

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

    Args:
        buffers: Of whole rows, as libpq hands them out.

    Yields:
        Batches with one field for each column; none is empty.

    Raises:
        UnreadableSource: A value that Arrow cannot hold, `infinity` for example.
    """
    from pyarrow import csv

    types = {column.name: arrow_type_of(column) for column in columns}
    texts = {name: pa.string() if pa.types.is_binary(t) else t for name, t in types.items()}
    convert = csv.ConvertOptions(
        column_types=texts,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    # An empty line is a row of one column that is NULL.
    parse = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    for block in _blocks(buffers):
        # One block: a row of any size fits, and nothing is read ahead but what the source sends.
        read = csv.ReadOptions(column_names=list(types), block_size=len(block) + 1)
        try:
            table = csv.read_csv(pa.BufferReader(block), read, parse, convert)
        except pa.ArrowInvalid as error:
            raise UnreadableSource(
                f"the source sent a value that Arrow cannot hold: {error}; expected values within "
                "Arrow's types; cast the column to text in the transfer, or leave such rows out"
            ) from error
        for batch in table.to_batches():
            yield _with_bytes(batch, types)


def _blocks(buffers: Iterable[bytes | bytearray]) -> Iterator[bytes]:
    """Whole buffers joined, so that enough rows are decoded together."""
    joined = bytearray()
    for buffer in buffers:
        joined += buffer
        if len(joined) >= BLOCK_BYTES:
            yield bytes(joined)
            joined.clear()
    if joined:
        yield bytes(joined)


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
