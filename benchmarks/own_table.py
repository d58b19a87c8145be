"""A table that no domain of the package knows, and windows of it through the core."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import POSITION_SCHEMA, Position, SourceBatch
from batch_assets.contracts.rules import required
from batch_assets.contracts.table import Disposition, Scope, TableContract, Window
from batch_assets.loading.load import load_windows
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadState
from benchmarks.server import BenchmarkServer

FIRST_DAY = date(2000, 1, 1)
SQL_TYPES = {pa.string(): "text", pa.date32(): "date", pa.int64(): "bigint",
             pa.decimal128(20, 6): "numeric(20, 6)"}  # fmt: skip
KEY = pa.schema([("source", pa.string()), ("day", pa.date32()), ("id", pa.int64())])
_SCOPE = Scope((("source", "benchmark"),))


def with_key(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """Columns after the key, which all these tables share."""
    return pa.schema([*KEY, *columns])


def key_of_rows(number: int, rows: int) -> list[pa.Array]:
    """The key's columns for one window."""
    day = FIRST_DAY + timedelta(days=number)
    return [
        pa.array(["benchmark"] * rows),
        pa.array([day] * rows, pa.date32()),
        pa.array(range(rows), pa.int64()),
    ]


def contract_of(target: str, columns: pa.Schema) -> TableContract:
    """Keyed by day and id, merged."""
    return TableContract(
        target=target,
        columns=columns,
        key=("source", "day", "id"),
        disposition=Disposition.MERGE,
        window_column="day",
        scope_columns=("source",),
        rules=(required(columns.names[-1]),),
    )


def create_table(conn: psycopg.Connection, name: str, columns: pa.Schema) -> None:
    """A table of a contract, with what the core adds where nobody else fills it."""
    listed = ", ".join(f"{field.name} {SQL_TYPES[field.type]}" for field in columns)
    conn.execute("CREATE SCHEMA IF NOT EXISTS bench")
    conn.execute(
        f"CREATE TABLE {name} ({listed}, revision integer NOT NULL DEFAULT 1, "
        "load_id bigint NOT NULL DEFAULT 1, PRIMARY KEY (source, day, id))"
    )


def source_of(number: int, open_table: Callable[[], pa.Table]) -> WindowSource:
    """A window of the core, read when it is its turn."""

    def read(_: Position | None) -> Iterator[SourceBatch]:
        found = open_table().combine_chunks()
        [batch] = found.to_batches()
        rows = len(found)
        positions = pa.RecordBatch.from_arrays(
            [pa.array(["benchmark"] * rows).dictionary_encode(), pa.array(range(rows), pa.int64())],
            schema=POSITION_SCHEMA,
        )
        yield SourceBatch(
            read_rows=rows,
            rows=batch,
            positions=positions,
            originals=lambda indices: [batch.slice(i, 1).to_pylist()[0] for i in indices],
        )

    day = FIRST_DAY + timedelta(days=number)
    return WindowSource(Window.of_day(day), f"{number}", None, read)


def load_all(
    server: BenchmarkServer, contract: TableContract, sources: Sequence[WindowSource], rows: int
) -> None:
    """Load windows by the core, and refuse another number of new rows."""
    reports = list(load_windows(server.connect, contract, _SCOPE, sources))
    inserted = sum(report.ledger.inserted for report in reports)
    if inserted != rows or any(report.state is not LoadState.SUCCESS for report in reports):
        raise RuntimeError(f"{contract.target}: {inserted} rows are new, expected {rows}")


def refuse_other_rows(
    conn: psycopg.Connection, tables: Sequence[str], columns: pa.Schema, rows: int
) -> None:
    """Compare tables with each other and with the number of rows expected.

    Raises:
        RuntimeError: They differ.
    """
    text = " || ".join(f"{name}::text" for name in columns.names)
    sums = {
        table: conn.execute(
            f"SELECT count(*), sum(hashtext({text})::bigint) FROM bench.{table}"
        ).fetchone()
        for table in tables
    }
    if len(set(sums.values())) != 1 or next(iter(sums.values()))[0] != rows:  # type: ignore[index]
        # reason: count(*) always gives a row
        raise RuntimeError(f"the ways stored different rows: {sums}, expected {rows} each")
