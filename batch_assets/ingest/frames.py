"""Frames of users' assets: into a table partition by partition, and back.

The same core as everything else: COPY, atomic publish, ledger, only the difference.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.batch import POSITION_SCHEMA, Original, Position, SourceBatch
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import SchemaMismatch
from batch_assets.loading.bulk import BulkFeed, BulkStream, Constants, OpenStream
from batch_assets.loading.encode import encode_batches
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets.loading.target_table import ensure_table
from batch_assets.postgres.names import column_list, table_identifier
from batch_assets.postgres.result_columns import describe_statement
from batch_assets.sources.tables.copy_out import CopyOut
from batch_assets.sources.tables.decode import arrow_type_of, prepare_session, read_arrow

PARTITION_COLUMN = "partition_key"
ROW_COLUMN = "row_no"

# Rows handed to the core at once.
_BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The table of one asset.

    Attributes:
        target: `schema.table`.
        key: Columns unique within the table; empty numbers the rows of each partition.
        window_column: Date or timestamp column that says to which partition a row belongs.
        is_partitioned: Without a window column, the partition's key is stored in a column.
        empty_ok: A frame without rows empties its partition.
    """

    target: str
    key: tuple[str, ...] = ()
    window_column: str = ""
    is_partitioned: bool = False
    empty_ok: bool = False

    @property
    def has_partition_column(self) -> bool:
        """Whether rows carry their partition's key."""
        return self.is_partitioned and not self.window_column

    def contract(self, schema: pa.Schema) -> TableContract:
        """What the table holds, for frames of this schema."""
        place = (PARTITION_COLUMN,) if self.has_partition_column else ()
        if self.has_partition_column:
            schema = schema.append(pa.field(PARTITION_COLUMN, pa.string()))
        key = self.key
        if not key:
            schema = schema.append(pa.field(ROW_COLUMN, pa.int64()))
            key = (*((self.window_column,) if self.window_column else ()), ROW_COLUMN)
        wanted = [*key, *([self.window_column] if self.window_column else [])]
        missing = [name for name in wanted if name not in schema.names]
        if missing:
            raise SchemaMismatch(
                f"{self.target}: the frame has the columns {', '.join(schema.names)}, expected "
                f"also {', '.join(missing)}; correct the asset's metadata or the frame"
            )
        return TableContract(
            target=self.target,
            columns=schema,
            key=(*place, *(name for name in key if name not in place)),
            disposition=Disposition.REPLACE,
            window_column=self.window_column or None,
            scope_columns=place,
        )


@dataclass(frozen=True, slots=True)
class FramePart:
    """The rows of one partition.

    Attributes:
        key: The partition's; `all` for assets without partitions.
        start: First value of the window column; None without one.
        end: First value after.
    """

    key: str
    rows: pa.Table
    start: date | datetime | None = None
    end: date | datetime | None = None


def store_parts(
    connect: Connector,
    table: FrameTable,
    parts: Sequence[FramePart],
    options: LoadOptions,
) -> Iterator[LoadReport]:
    """Make partitions of a table what the frames say.

    Args:
        parts: At least one; all of one schema.

    Yields:
        One report for each part, once it is committed.

    Raises:
        SchemaMismatch: Frame and table do not fit; nothing was written.
    """
    contract = table.contract(parts[0].rows.schema)
    ensure_table(connect, contract, may_add_columns=False)
    if not table.has_partition_column:
        sources = [_as_source(table, contract, part) for part in parts]
        yield from load_windows(connect, contract, Scope(), sources, options)
        return
    for part in parts:
        scope = Scope(((PARTITION_COLUMN, part.key),))
        source = _as_source(table, contract, part)
        yield from load_windows(connect, contract, scope, [source], options)


def _as_source(table: FrameTable, contract: TableContract, part: FramePart) -> WindowSource:
    rows = part.rows
    if table.has_partition_column:
        keys = pa.repeat(pa.scalar(part.key), rows.num_rows)
        rows = rows.append_column(PARTITION_COLUMN, keys)
    if not table.key:
        numbers = pa.array(range(1, rows.num_rows + 1), pa.int64())
        rows = rows.append_column(ROW_COLUMN, numbers)
    rows = rows.select(contract.columns.names)
    window = Window(part.key, *_bounds(contract, part))
    bulk = None
    if not rows.num_rows and table.empty_ok:
        bulk = BulkFeed(is_small=True, empty_ok=True, open=_nothing(contract))
    return WindowSource(
        window=window,
        source_file=f"{table.target} {part.key}",
        source_hash=None,
        read=lambda position: _read(rows, f"{table.target} {part.key}", position),
        bulk=bulk,
    )


def _bounds(
    contract: TableContract, part: FramePart
) -> tuple[date | datetime | None, date | datetime | None]:
    """The partition's range in the type of the window column."""
    if contract.window_column is None or part.start is None or part.end is None:
        return None, None
    kind = contract.columns.field(contract.window_column).type
    start, end = part.start, part.end
    if pa.types.is_date(kind):
        return _as_date(start), _as_date(end)
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return _naive(start), _naive(end)
    return start, end


def _as_date(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


def _naive(value: date | datetime) -> date | datetime:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _read(rows: pa.Table, origin: str, position: Position | None) -> Iterator[SourceBatch]:
    done = int(position["row"]) if position else 0
    for batch in rows.slice(done).to_batches(max_chunksize=_BATCH_ROWS):
        first = done + 1
        done += batch.num_rows
        yield SourceBatch(
            read_rows=batch.num_rows,
            rows=batch,
            positions=pa.RecordBatch.from_arrays(
                [
                    pa.repeat(pa.scalar(origin), batch.num_rows).dictionary_encode(),
                    pa.array(range(first, done + 1), pa.int64()),
                ],
                schema=POSITION_SCHEMA,
            ),
            originals=_originals(batch),
            resume_after={"row": done},
        )


def _originals(batch: pa.RecordBatch) -> Callable[[Sequence[int]], list[Original]]:
    def texts(indices: Sequence[int]) -> list[Original]:
        return [
            {name: _text(batch.column(name)[index]) for name in batch.schema.names}
            for index in indices
        ]

    return texts


def _text(value: pa.Scalar) -> str | None:
    return str(value) if value.is_valid else None


@dataclass(slots=True)
class _NoRows:
    """A stream without rows."""

    schema: pa.Schema
    rows: int = 0
    read: int = 0
    skipped: int = 0
    rejected: tuple[()] = field(default=())

    def __iter__(self) -> Iterator[bytes | bytearray]:
        return encode_batches(self.schema, [])


def _nothing(contract: TableContract) -> OpenStream:
    @contextmanager
    def opened(constants: Constants) -> Iterator[BulkStream]:
        schema = contract.columns
        for name, value in constants.items():
            schema = schema.append(pa.field(name, pa.scalar(value).type))
        yield _NoRows(schema)

    return opened


def read_parts(
    connect: Connector,
    table: FrameTable,
    *,
    keys: Sequence[str] | None = None,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
) -> pa.Table:
    """Rows of partitions, in key order, without the columns that are ours.

    Args:
        keys: Partitions, of a table that stores their keys; None reads all of it.
        start: First value of the window column; None reads from the beginning.
        end: First value after; None reads to the end.

    Raises:
        SchemaMismatch: There is no such table.
    """
    with closing(connect()) as conn:
        prepare_session(conn)
        statement, wanted = _select(conn, table, keys, start, end)
        columns = describe_statement(conn, statement)
        copy = CopyOut(conn, statement, _as_it_is, "csv")
        try:
            batches = list(read_arrow(copy, columns))
        finally:
            copy.close()
    schema = pa.schema([(column.name, arrow_type_of(column)) for column in columns])
    return pa.Table.from_batches(batches, schema).select(wanted)


def _select(
    conn: psycopg.Connection,
    table: FrameTable,
    keys: Sequence[str] | None,
    start: date | datetime | None,
    end: date | datetime | None,
) -> tuple[sql.Composed, list[str]]:
    target = table_identifier(table.target)
    known = conn.execute("SELECT to_regclass(%s)", (target.as_string(conn),)).fetchone()
    if known == (None,):
        raise SchemaMismatch(
            f"{table.target} does not exist; expected the table of an asset that was "
            "materialized; materialize it, or correct its `table` metadata"
        )
    described = describe_statement(conn, sql.SQL("SELECT * FROM {}").format(target))
    ours = {"load_id", "revision", ROW_COLUMN, PARTITION_COLUMN}
    names = [column.name for column in described]
    wanted = [name for name in names if name not in ours or name in table.key]
    conditions: list[sql.Composable] = [sql.SQL("TRUE")]
    if table.window_column and start is not None and end is not None:
        types = {column.name: column.type_name for column in described}
        is_date = types.get(table.window_column) == "date"
        bounds = [_as_date(v) if is_date else v for v in (start, end)]
        conditions.append(
            sql.SQL("{0} >= {1} AND {0} < {2}").format(
                sql.Identifier(table.window_column),
                *(sql.Literal(str(value)) for value in bounds),
            )
        )
    if keys is not None and table.has_partition_column:
        listed = sql.SQL(", ").join(sql.Literal(key) for key in keys)
        conditions.append(sql.SQL("{} IN ({})").format(sql.Identifier(PARTITION_COLUMN), listed))
    order = [name for name in (PARTITION_COLUMN, *table.key, ROW_COLUMN) if name in names]
    return (
        sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
            column_list(names),
            target,
            sql.SQL(" AND ").join(conditions),
            column_list(order or names[:1]),
        ),
        wanted,
    )


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Failures of our own database are translated where the caller is."""
    yield
