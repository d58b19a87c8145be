"""Instruments, aliases, suspensions and factors: from a source's tables to rows in `market`.

table of one source -> one window -> load_windows -> one report
"""

from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa

from batch_assets.contracts.batch import POSITION_SCHEMA, Original, Position, SourceBatch
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import UnreadableSource
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import WindowSource
from batch_assets.loading.report import LoadReport
from batch_assets.sources.market.reference import (
    ADJUSTMENT_FACTORS,
    ALIASES,
    INSTRUMENTS,
    SUSPENSIONS,
)

# Tables without a window column are one window for each source.
WHOLE = Window(key="all")

_BATCH_ROWS = 20_000


def sync_instruments(
    connect: Connector,
    source: str,
    rows: pa.Table,
    *,
    origin: str,
    options: LoadOptions | None = None,
) -> LoadReport:
    """Store what a source lists; symbols it leaves out stay as they are.

    Args:
        rows: Columns symbol, and any of name, board, listed_on, delisted_on.
        origin: Where the rows come from, for ledger and dead letters (`tushare stock_basic`).

    Raises:
        UnreadableSource: A column is unknown or of a type that does not fit.
    """
    return _sync(connect, INSTRUMENTS, source, WHOLE, rows, origin, options)


def sync_aliases(
    connect: Connector,
    source: str,
    rows: pa.Table,
    *,
    origin: str,
    options: LoadOptions | None = None,
) -> LoadReport:
    """Store other names of instruments: columns alias, valid_from, symbol and maybe valid_to."""
    return _sync(connect, ALIASES, source, WHOLE, rows, origin, options)


def sync_factors(
    connect: Connector,
    source: str,
    rows: pa.Table,
    *,
    origin: str,
    options: LoadOptions | None = None,
) -> LoadReport:
    """Store cumulative backward factors: columns symbol, ex_date, factor.

    Any part of the symbols may be given, but each of them with its whole history: before its
    first factor a symbol counts as not adjusted.
    """
    return _sync(connect, ADJUSTMENT_FACTORS, source, WHOLE, rows, origin, options)


def sync_suspensions(
    connect: Connector,
    source: str,
    day: date,
    rows: pa.Table,
    *,
    origin: str,
    options: LoadOptions | None = None,
) -> LoadReport:
    """Store the whole list of symbols that did not trade on a day.

    Args:
        rows: Columns symbol and maybe reason and trade_date. A table without rows changes
            nothing and is reported as unconfirmed_empty.
    """
    if "trade_date" not in rows.schema.names:
        dates = pa.array([day] * rows.num_rows, pa.date32())
        rows = rows.append_column("trade_date", dates)
    return _sync(connect, SUSPENSIONS, source, Window.of_day(day), rows, origin, options)


def _sync(
    connect: Connector,
    contract: TableContract,
    source: str,
    window: Window,
    rows: pa.Table,
    origin: str,
    options: LoadOptions | None,
) -> LoadReport:
    typed = _typed(contract, source, rows, origin)

    def read(position: Position | None) -> Iterator[SourceBatch]:
        done = int(position["row"]) if position else 0
        for batch in typed.slice(done).to_batches(max_chunksize=_BATCH_ROWS):
            yield _source_batch(batch, origin, done)
            done += batch.num_rows

    item = WindowSource(window, origin, None, read)
    [report] = load_windows(connect, contract, scope_of_source(source), [item], options)
    return report


def scope_of_source(source: str) -> Scope:
    """What all rows of a source have in common."""
    return Scope((("source", source),))


def _source_batch(batch: pa.RecordBatch, origin: str, first: int) -> SourceBatch:
    count = batch.num_rows
    positions = pa.RecordBatch.from_arrays(
        [
            pa.repeat(pa.scalar(origin), count).dictionary_encode(),
            pa.array(range(first + 1, first + count + 1), pa.int64()),
        ],
        schema=POSITION_SCHEMA,
    )

    def originals(indices: Sequence[int]) -> list[Original]:
        # As text before it is Python's: a date of the year 10000 is none there.
        taken = batch.take(pa.array(indices, pa.int64()))
        texts = {name: taken.column(name).cast(pa.string()) for name in batch.schema.names}
        return pa.table(texts).to_pylist()  # type: ignore[no-any-return]  # reason: of pyarrow

    return SourceBatch(
        read_rows=count,
        rows=batch,
        positions=positions,
        originals=originals,
        resume_after={"row": first + count},
    )


def _typed(contract: TableContract, source: str, rows: pa.Table, origin: str) -> pa.Table:
    """The contract's columns; those the source does not have are null."""
    unknown = [name for name in rows.schema.names if name not in contract.columns.names]
    if unknown:
        raise UnreadableSource(
            f"{origin} has columns {', '.join(unknown)}, expected only "
            f"{', '.join(contract.columns.names[1:])}; leave them out or rename them"
        )
    columns = []
    for field in contract.columns:
        if field.name == "source":
            columns.append(pa.repeat(pa.scalar(source), rows.num_rows))
        elif field.name not in rows.schema.names:
            columns.append(pa.nulls(rows.num_rows, field.type))
        else:
            columns.append(_cast(rows.column(field.name), field, origin))
    return pa.table(columns, schema=contract.columns).combine_chunks()


def _cast(column: pa.ChunkedArray, field: pa.Field, origin: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnreadableSource(
            f"{origin}: column '{field.name}' is {column.type} and does not fit into {field.type}: "
            f"{error}; parse it to that type in the source"
        ) from error
