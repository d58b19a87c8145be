"""A small table and sources for it, made by the tests of the loading core."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

import psycopg
import pyarrow as pa

from batch_assets.contracts.batch import POSITION_SCHEMA, RejectedRow, SourceBatch, Violation
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import not_negative, required
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import Outcome
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets.postgres.connect import connect

COLUMNS = pa.schema(
    [
        ("source", pa.string()),
        ("symbol", pa.string()),
        ("day", pa.date32()),
        ("price", pa.decimal128(20, 6)),
        ("note", pa.string()),
    ]
)
CONTRACT = TableContract(
    target="public.prices",
    columns=COLUMNS,
    key=("source", "day", "symbol"),
    disposition=Disposition.MERGE,
    window_column="day",
    scope_columns=("source",),
    rules=(required("price"), not_negative("price")),
)
SCOPE = Scope((("source", "test"),))
DAY = date(2024, 9, 30)

Row = tuple[str, str | None, str | None]
"""symbol, price, note"""


def create_table(url: str) -> None:
    with connect(url, application_name="test", autocommit=True) as conn:
        conn.execute(
            'CREATE TABLE public.prices (source text NOT NULL, symbol text COLLATE "C" NOT NULL,'
            " day date NOT NULL, price numeric(20, 6), note text, revision integer NOT NULL"
            " DEFAULT 1, load_id bigint NOT NULL, PRIMARY KEY (source, day, symbol))"
        )


def to_batch(rows: Sequence[Row], day: date, first_row: int = 1) -> SourceBatch:
    """Rows of one day as a source gives them; a price that is no number is a reject."""
    good, rejected = [], []
    for number, row in enumerate(rows, first_row):
        if row[1] is not None and not row[1].lstrip("-").replace(".", "", 1).isdigit():
            violation = Violation("unparsable_number", "price", row[1], "a number", "correct it")
            original = dict(zip(("symbol", "price", "note"), row, strict=True))
            rejected.append(RejectedRow(f"{day}.csv", number, (violation,), original, day))
        else:
            good.append((number, row))
    prices = [None if row[1] is None else Decimal(row[1]) for _, row in good]
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(["test"] * len(good), pa.string()),
            pa.array([row[0] for _, row in good], pa.string()),
            pa.array([day] * len(good), pa.date32()),
            pa.array(prices, pa.decimal128(20, 6)),
            pa.array([row[2] for _, row in good], pa.string()),
        ],
        schema=COLUMNS,
    )
    positions = pa.RecordBatch.from_arrays(
        [
            pa.array([f"{day}.csv"] * len(good), pa.string()).dictionary_encode(),
            pa.array([number for number, _ in good], pa.int64()),
        ],
        schema=POSITION_SCHEMA,
    )
    return SourceBatch(
        read_rows=len(rows),
        rows=batch,
        positions=positions,
        originals=lambda indices: [
            dict(zip(("symbol", "price", "note"), good[index][1], strict=True)) for index in indices
        ],
        rejected=tuple(rejected),
        resume_after={"row": first_row + len(rows) - 1},
    )


def source_of(
    rows: Sequence[Row], day: date = DAY, *, source_hash: str | None = None, batch_rows: int = 1000
) -> WindowSource:
    """A window whose rows come in batches; resumable by row number."""

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        start = int(position["row"]) if position else 0
        for offset in range(start, len(rows), batch_rows):
            yield to_batch(rows[offset : offset + batch_rows], day, offset + 1)

    return WindowSource(Window.of_day(day), f"{day}.csv", source_hash, read)


def connector(url: str) -> Callable[[], psycopg.Connection]:
    return partial(connect, url, application_name="test")


def load(
    url: str,
    *items: WindowSource | Outcome,
    contract: TableContract = CONTRACT,
    options: LoadOptions | None = None,
    **changes: object,
) -> list[LoadReport]:
    options = replace(options or LoadOptions(), **changes)
    return list(load_windows(connector(url), contract, SCOPE, items, options))


def rows_of(url: str, columns: str = "symbol, price, note") -> list[tuple[object, ...]]:
    with connect(url, application_name="test") as conn:
        return conn.execute(f"SELECT {columns} FROM public.prices ORDER BY day, symbol").fetchall()


def many_rows(count: int, price: str = "1.5") -> list[Row]:
    return [(f"S{number:07d}", price, None) for number in range(count)]


def days(count: int) -> list[date]:
    return [DAY + timedelta(days=number) for number in range(count)]


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with connector(url)() as conn:
        return conn.execute(statement).fetchall()
