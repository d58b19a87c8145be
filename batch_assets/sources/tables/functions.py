"""A user's function over batches: found by its import path, fed, and held to what it may return."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.errors import ConfigurationError, SchemaMismatch
from batch_assets.sources.tables.frames import as_pandas

Function = Callable[[Any], Any]


def find_function(path: str) -> Function:
    """The function that `package.module:function` names.

    Raises:
        ConfigurationError: There is none.
    """
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"transform = {path!r} cannot be imported: {error}; expected package.module:function "
            "of something that this Python can import"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"transform = {path!r} is {found!r}, expected a function")
    return found  # type: ignore[no-any-return]  # reason: callable, checked above


@dataclass(frozen=True, slots=True)
class Transformed:
    """What a function made of one batch.

    Attributes:
        rows: With exactly the wanted columns and types.
        rejected: Rows on which the function fails, one by one.
        skipped: Rows it left out.
    """

    rows: pa.RecordBatch
    rejected: tuple[RejectedRow, ...]
    skipped: int


@dataclass(frozen=True, slots=True)
class BatchFunction:
    """A transform, with what it takes and what it must give.

    Attributes:
        call: Of the user.
        rows_as: What it takes.
        schema: What the target stores.
        origin: Names the source in dead letters.
    """

    call: Function
    rows_as: Literal["arrow", "pandas"]
    schema: pa.Schema
    origin: str

    def apply(self, batch: pa.RecordBatch, first_row: int) -> Transformed:
        """Transform a batch; where the function fails, find the rows that make it fail.

        Args:
            first_row: Number of the batch's first row in the source, from 1.

        Raises:
            SchemaMismatch: It returned columns, types or row counts that cannot be stored.
        """
        pieces: list[pa.RecordBatch] = []
        rejected: list[RejectedRow] = []
        for piece, error, offset in self._attempts(batch, 0):
            if error is None:
                pieces.append(piece)
            else:
                rejected.append(self._rejected(piece, first_row + offset, error))
        empty = pa.RecordBatch.from_pylist([], schema=self.schema)
        rows = pa.concat_batches(pieces) if pieces else empty
        skipped = batch.num_rows - len(rejected) - rows.num_rows
        if skipped < 0:
            raise SchemaMismatch(
                f"{self.origin}: the transform made {rows.num_rows} rows of {batch.num_rows}, "
                "expected at most as many; make further rows with SQL, in a query"
            )
        return Transformed(rows, tuple(rejected), skipped)

    def _attempts(
        self, batch: pa.RecordBatch, offset: int
    ) -> Iterator[tuple[pa.RecordBatch, Exception | None, int]]:
        """Halve a batch until the function takes the rest of it."""
        try:
            yield self._called(batch), None, offset
            return
        except SchemaMismatch:
            raise
        # It is the user's code: whatever it raises says that it cannot do with these rows.
        except Exception as error:  # noqa: BLE001
            if batch.num_rows == 1:
                yield batch, error, offset
                return
        half = batch.num_rows // 2
        yield from self._attempts(batch.slice(0, half), offset)
        yield from self._attempts(batch.slice(half), offset + half)

    def _called(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        table = pa.Table.from_batches([batch])
        result = self.call(as_pandas(table) if self.rows_as == "pandas" else table)
        return as_batch(result, self.schema, self.origin)

    def _rejected(self, batch: pa.RecordBatch, row: int, error: Exception) -> RejectedRow:
        [values] = batch.to_pylist()
        violation = Violation(
            rule="transform_failed",
            column="",
            observed=f"{type(error).__name__}: {error}"[:500],
            expected="a row that the transform takes",
            hint="correct the row in the source, or the transform",
        )
        original = {name: None if v is None else str(v) for name, v in values.items()}
        return RejectedRow(self.origin, row, (violation,), original)


def as_batch(result: Any, schema: pa.Schema, origin: str) -> pa.RecordBatch:
    """Rows in the columns and exact types that a table stores.

    Args:
        result: A pyarrow.Table or RecordBatch, a pandas or polars frame.

    Raises:
        SchemaMismatch: It is none of these, or a column is absent, unknown or of another type.
    """
    table = _as_table(result, origin)
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise SchemaMismatch(
            f"{origin}: the rows have the columns {', '.join(table.column_names)}; "
            f"missing: {', '.join(missing) or 'none'}, not stored: {', '.join(unknown) or 'none'}; "
            "return exactly the columns of the target, without load_id"
        )
    arrays = [_cast(table.column(field.name), field, origin) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_table(result: Any, origin: str) -> pa.Table:
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pa.RecordBatch):
        return pa.Table.from_batches([result])
    if hasattr(result, "to_arrow"):
        return result.to_arrow()
    if type(result).__module__.partition(".")[0] == "pandas":
        return pa.Table.from_pandas(result, preserve_index=False)
    raise SchemaMismatch(
        f"{origin}: got {type(result).__name__}, expected a pyarrow.Table, a pyarrow.RecordBatch "
        "or a pandas or polars frame; convert it"
    )


def _cast(column: pa.ChunkedArray, field: pa.Field, origin: str) -> pa.Array:
    try:
        values = column.cast(field.type) if column.type != field.type else column
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(
            f"{origin}: column '{field.name}' is {column.type}, stored is {field.type}: {error}"
        ) from error
    joined: Sequence[pa.Array] = values.chunks
    return (
        joined[0]
        if len(joined) == 1
        else pa.concat_arrays(joined)
        if joined
        else pa.array([], field.type)
    )
