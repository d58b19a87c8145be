"""The rows of a transfer as encoded streams: passed on as they are, or by way of a function.

Both satisfy `BulkStream` of the loading core, which this package does not know.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.batch import RejectedRow
from batch_assets.errors import RejectLimitExceeded
from batch_assets.postgres.result_columns import ResultColumn
from batch_assets.sources.tables.copy_out import CopyOut
from batch_assets.sources.tables.decode import read_arrow
from batch_assets.sources.tables.functions import BatchFunction

_SQL_TYPES = {"load_id": "bigint", "chunk_no": "integer", "place_row": "bigint"}
_ARROW_TYPES = {"bigint": pa.int64(), "integer": pa.int32(), "text": pa.string()}

Encoder = Callable[[pa.Schema, Iterable[pa.RecordBatch]], Iterator[bytes]]


def as_literals(constants: Mapping[str, int | str]) -> dict[str, sql.Composable]:
    """Constant columns as the select list has them."""
    return {
        name: sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(_SQL_TYPES.get(name, "text")))
        for name, value in constants.items()
    }


@dataclass(slots=True)
class RawStream:
    """Bytes of the source, not looked at."""

    copy: CopyOut
    skipped: int = 0
    rejected: Sequence[RejectedRow] = ()

    def __iter__(self) -> Iterator[bytes | bytearray]:
        """The source's buffers."""
        return iter(self.copy)

    @property
    def rows(self) -> int:
        """Rows sent, by the source's count."""
        return self.copy.rows

    @property
    def read(self) -> int:
        """Rows read: all of them are sent."""
        return self.copy.rows


@dataclass(slots=True)
class FunctionStream:
    """Rows decoded, given to a function, and encoded again.

    Attributes:
        first_row: Number of the first row, for dead letters.
        limit_rows: More rejected rows than this end the stream.
    """

    copy: CopyOut
    columns: Sequence[ResultColumn]
    function: BatchFunction
    constants: Mapping[str, int | str]
    encode: Encoder
    limit_rows: int
    first_row: int = 1
    rows: int = 0
    skipped: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Rows read, by the source's count."""
        return self.copy.rows

    def __iter__(self) -> Iterator[bytes | bytearray]:
        """Buffers of a binary COPY stream."""
        schema = self.function.schema
        types = {name: _SQL_TYPES.get(name, "text") for name in self.constants}
        for name, kind in types.items():
            schema = schema.append(pa.field(name, _ARROW_TYPES[kind]))
        return self.encode(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        place = self.first_row
        for batch in read_arrow(self.copy, self.columns):
            done = self.function.apply(batch, place)
            place += batch.num_rows
            self.rejected.extend(done.rejected)
            self.skipped += done.skipped
            self.rows += done.rows.num_rows
            if len(self.rejected) > self.limit_rows:
                raise RejectLimitExceeded(
                    f"{self.function.origin}: the transform fails on more than {self.limit_rows} "
                    f"of the first {place - 1} rows, last with "
                    f"{self.rejected[-1].violations[0].observed}; correct it, or raise "
                    "reject_limit_rows"
                )
            constants = [
                pa.repeat(pa.scalar(value, schema.field(name).type), done.rows.num_rows)
                for name, value in self.constants.items()
            ]
            yield pa.RecordBatch.from_arrays([*done.rows.columns, *constants], schema=schema)
