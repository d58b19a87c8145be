"""Frames that users return, as Arrow tables of types that PostgreSQL stores exactly, and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from batch_assets.errors import SchemaMismatch

_STORED = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.string_view(): pa.string(),
}
_KEPT = {
    pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(),
    pa.binary(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", "UTC"),
}  # fmt: skip


def stored_type(kind: pa.DataType, column: str) -> pa.DataType:
    """The type that a column is stored as.

    Raises:
        SchemaMismatch: PostgreSQL has no type for it; says what to convert.
    """
    if pa.types.is_dictionary(kind):
        return stored_type(kind.value_type, column)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if kind.tz else pa.timestamp("us")
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_decimal128(kind) and kind.scale >= 0:
        return kind
    found = _STORED.get(kind, kind)
    if found in _KEPT:
        return found
    raise SchemaMismatch(
        f"column '{column}' is {kind}, which no column of PostgreSQL holds exactly; convert it "
        "first: lists and structs to JSON text, uint64 to decimal128(20, 0)"
    )


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Names of a frame with the types they are stored as."""
    return pa.schema([(field.name, stored_type(field.type, field.name)) for field in schema])


def read_frame(frame: Any, spool: Path) -> pa.Table:
    """Rows of a frame, as a table of stored types.

    Args:
        frame: A pandas or polars frame, a pyarrow Table, RecordBatch or RecordBatchReader.
        spool: File for the rows of a reader: it can be read once, and may be larger than memory.
            The table maps the file.

    Raises:
        SchemaMismatch: It is none of these, or a column cannot be stored.
    """
    if isinstance(frame, pa.RecordBatchReader):
        return _spooled(frame, spool)
    if isinstance(frame, pa.Table):
        table = frame
    elif isinstance(frame, pa.RecordBatch):
        table = pa.Table.from_batches([frame])
    elif hasattr(frame, "to_arrow"):
        table = frame.to_arrow()
    elif type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns"):
        table = pa.Table.from_pandas(frame, preserve_index=False)
    else:
        raise SchemaMismatch(
            f"got {type(frame).__name__}, expected a pandas or polars frame, a pyarrow.Table, "
            "RecordBatch or RecordBatchReader; convert it, or use another IO manager"
        )
    return cast_table(table.replace_schema_metadata(None))


def as_pandas(table: pa.Table) -> Any:
    """A pandas frame with the same values.

    Integer columns with NULLs have pandas' nullable types: as floats, which pandas would choose,
    values above 2^53 would be others.
    """
    import pandas as pd

    nullable = {
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
    }
    frame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and column.type in nullable:
            frame[name] = column.to_pandas(types_mapper=nullable.get)
    return frame


def cast_table(table: pa.Table) -> pa.Table:
    """The table in stored types.

    Raises:
        SchemaMismatch: A value does not fit, nanoseconds for example.
    """
    schema = stored_schema(table.schema)
    try:
        return table.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatch(
            f"the frame has values that cannot be stored: {error}; expected {schema}; round or "
            "convert the column"
        ) from error


def _spooled(reader: pa.RecordBatchReader, spool: Path) -> pa.Table:
    schema = stored_schema(reader.schema)
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in _cast_batches(reader):
            writer.write_table(batch)
    return pa.ipc.open_file(pa.memory_map(str(spool))).read_all()


def _cast_batches(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    for batch in reader:
        yield cast_table(pa.Table.from_batches([batch]).replace_schema_metadata(None))
