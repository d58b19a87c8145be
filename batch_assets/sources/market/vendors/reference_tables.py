"""A vendor's instruments, suspensions and factors as the tables of `reference.py` want them.

Bars are typed in parse.py. Which factors are changes is decided by what is stored.
"""

from collections.abc import Mapping
from decimal import Decimal

import pyarrow as pa

from batch_assets.errors import UnreadableSource
from batch_assets.sources.market.dates import parse_dates
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.numbers import NumberColumn, parse_numbers
from batch_assets.sources.market.reference import (
    ADJUSTMENT_FACTORS,
    INSTRUMENTS,
    SUSPENSIONS,
)
from batch_assets.sources.market.spellings import Spellings
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.vendor import Fetched

_QUOTED = 3


def instruments_table(feed: VendorFeed, fetched: Fetched) -> pa.Table:
    """Columns symbol, name, board, listed_on, delisted_on, as far as the vendor has them.

    Args:
        feed: Its symbol rule and date format.
        fetched: Of `fetch_instruments`.

    Raises:
        UnreadableSource: A symbol or a date cannot be read; names some of them.
    """
    return _typed(feed, fetched, kind_of(feed.vendor).instruments, INSTRUMENTS.columns)


def suspensions_table(feed: VendorFeed, fetched: Fetched) -> pa.Table:
    """Columns symbol, trade_date, reason, as far as the vendor has them.

    Args:
        feed: Its symbol rule and date format.
        fetched: Of `fetch_suspensions`.

    Raises:
        UnreadableSource: A symbol or a date cannot be read; names some of them.
    """
    return _typed(feed, fetched, kind_of(feed.vendor).suspensions, SUSPENSIONS.columns)


def factors_table(feed: VendorFeed, fetched: Fetched) -> pa.Table:
    """Columns symbol, factor, and ex_date or trade_date, as the vendor has it.

    A factor may be null: the vendor knows the symbol, and not its factor.

    Args:
        feed: Its symbol rule and date format.
        fetched: Of `fetch_factors`.

    Raises:
        UnreadableSource: A symbol, a date or a number cannot be read; names some of them.
    """
    schema = ADJUSTMENT_FACTORS.columns.append(pa.field("trade_date", pa.date32()))
    return _typed(feed, fetched, kind_of(feed.vendor).factors, schema)


def _typed(
    feed: VendorFeed, fetched: Fetched, names: Mapping[str, str], schema: pa.Schema
) -> pa.Table:
    if fetched.malformed:
        raise UnreadableSource(
            f"{fetched.label}: record {fetched.malformed[0].row} is no row, expected "
            f"{fetched.cells.num_columns} fields; the vendor may have changed its format"
        )
    missing = [name for name in names.values() if name not in fetched.cells.column_names]
    if missing:
        raise UnreadableSource(
            f"{fetched.label}: no columns {', '.join(missing)} in the answer; the vendor may have "
            "changed its format"
        )
    columns = {}
    for target, name in names.items():
        texts = fetched.cells.column(name).combine_chunks()
        columns[target] = _column(feed, fetched.label, name, texts, schema.field(target))
    return pa.table(columns)


def _column(feed: VendorFeed, label: str, name: str, texts: pa.Array, field: pa.Field) -> pa.Array:
    if field.name == "symbol":
        values = Spellings(feed).symbols(texts, None)
    elif pa.types.is_date(field.type):
        texts = pa.array([text or None for text in texts.to_pylist()], pa.string())
        values = parse_dates(texts, feed.date_format, feed.zone_name)
    elif pa.types.is_decimal(field.type):
        texts = pa.array([text or None for text in texts.to_pylist()], pa.string())
        values = parse_numbers(texts, NumberColumn(field.name, field.type, Decimal(1))).values
    else:
        return texts
    wrong = [
        text
        for text, value in zip(texts.to_pylist(), values.to_pylist(), strict=True)
        if value is None and (text is not None or field.name == "symbol")
    ]
    if wrong:
        expected = {"symbol": feed.symbol.expected, "factor": f"numbers that fit {field.type}"}.get(
            field.name, f"dates {feed.date_format}"
        )
        raise UnreadableSource(
            f"{label}: {len(wrong)} values of {name} such as {wrong[:_QUOTED]} cannot be read, "
            f"expected {expected}; nothing was stored"
        )
    return values
