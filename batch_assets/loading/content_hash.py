"""A hash of what rows say, independent of how they are laid out in memory."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.decimals import as_integers


def hash_rows(rows: pa.RecordBatch, left_out: Sequence[str] = ()) -> str:
    """SHA-256 over schema, NULLs and values of rows that are already in key order.

    Args:
        left_out: Columns that do not count.

    Equal rows give equal hashes whatever slices, offsets or padding their buffers have.
    """
    if left_out:
        rows = rows.select([name for name in rows.schema.names if name not in left_out])
    digest = hashlib.sha256(str(rows.schema).encode())
    digest.update(rows.num_rows.to_bytes(8, "little"))
    for column in rows.columns:
        if column.null_count:
            is_null = pc.cast(pc.is_null(column), pa.uint8())
            digest.update(_value_bytes(is_null, 1))
        _update(digest, column)
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", column: pa.Array) -> None:
    kind = column.type
    if pa.types.is_boolean(kind):
        digest.update(_value_bytes(pc.cast(pc.fill_null(column, False), pa.uint8()), 1))
    elif pa.types.is_fixed_size_binary(kind) or not (
        pa.types.is_primitive(kind) or pa.types.is_decimal128(kind)
    ):
        _update_variable(digest, column)
    else:
        # The slot behind a NULL holds anything: overwrite it before hashing.
        filled = column if not column.null_count else _fill(column)
        integers = as_integers(filled)
        if integers is not None:
            # Half the bytes; which form is taken depends on the values alone.
            digest.update(b"64")
            digest.update(integers.tobytes())
        else:
            digest.update(_value_bytes(filled, kind.bit_width // 8))


def _update_variable(digest: "hashlib._Hash", column: pa.Array) -> None:
    values = pc.cast(column, pa.large_binary())
    if values.null_count:
        values = pc.fill_null(values, b"")
    digest.update(_value_bytes(pc.cast(pc.binary_length(values), pa.int64()), 8))
    _, offsets_buffer, data = values.buffers()
    if data is not None and len(values):
        offsets = memoryview(offsets_buffer).cast("q")
        first, last = offsets[values.offset], offsets[values.offset + len(values)]
        digest.update(memoryview(data)[first:last])


def _fill(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_decimal128(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return pc.fill_null(column, pa.scalar(0, kind))
    # Dates, times and timestamps are integers underneath.
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pc.fill_null(column.view(width), pa.scalar(0, width))


def _value_bytes(column: pa.Array, width: int) -> memoryview:
    start = column.offset * width
    return memoryview(column.buffers()[1])[start : start + len(column) * width]
