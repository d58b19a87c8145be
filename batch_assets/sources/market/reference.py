"""Contracts of what a source says beside bars: instruments, aliases, suspensions, factors.

They are facts of one source; bars of the same source are judged and adjusted by them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import RowRule, required
from batch_assets.contracts.table import TableContract

FACTOR = pa.decimal128(24, 12)

INSTRUMENTS = TableContract(
    target="market.instruments",
    columns=pa.schema(
        [
            ("source", pa.string()),
            ("symbol", pa.string()),
            ("name", pa.string()),
            ("board", pa.string()),
            ("listed_on", pa.date32()),
            ("delisted_on", pa.date32()),
        ]
    ),
    key=("source", "symbol"),
    # A list that is shorter today says nothing about what it leaves out: delisted_on does.
    disposition=Disposition.MERGE,
    scope_columns=("source",),
    rules=(
        required("symbol"),
        RowRule(
            name="delisted_before_listed",
            columns=("delisted_on", "listed_on"),
            broken=lambda batch: pc.less(batch.column("delisted_on"), batch.column("listed_on")),
            expected="a delisting on or after the listing",
            hint="correct the dates in the source",
        ),
    ),
)

ALIASES = TableContract(
    target="market.instrument_aliases",
    columns=pa.schema(
        [
            ("source", pa.string()),
            ("alias", pa.string()),
            ("valid_from", pa.date32()),
            ("valid_to", pa.date32()),
            ("symbol", pa.string()),
        ]
    ),
    key=("source", "alias", "valid_from"),
    disposition=Disposition.MERGE,
    scope_columns=("source",),
    rules=(
        required("alias"),
        required("valid_from"),
        required("symbol"),
        RowRule(
            name="ends_before_it_begins",
            columns=("valid_to", "valid_from"),
            broken=lambda batch: pc.less_equal(
                batch.column("valid_to"), batch.column("valid_from")
            ),
            expected="valid_to after valid_from",
            hint="correct the dates in the source",
        ),
    ),
)

SUSPENSIONS = TableContract(
    target="market.suspensions",
    columns=pa.schema(
        [
            ("source", pa.string()),
            ("trade_date", pa.date32()),
            ("symbol", pa.string()),
            ("reason", pa.string()),
        ]
    ),
    key=("source", "trade_date", "symbol"),
    # The list of a day is the whole list: a suspension that was taken back must not go on excusing
    # a missing bar.
    disposition=Disposition.REPLACE,
    window_column="trade_date",
    scope_columns=("source",),
    rules=(required("symbol"), required("trade_date")),
)

ADJUSTMENT_FACTORS = TableContract(
    target="market.adjustment_factors",
    columns=pa.schema(
        [
            ("source", pa.string()),
            ("symbol", pa.string()),
            ("ex_date", pa.date32()),
            ("factor", FACTOR),
        ]
    ),
    key=("source", "symbol", "ex_date"),
    disposition=Disposition.MERGE,
    scope_columns=("source",),
    rules=(
        required("symbol"),
        required("ex_date"),
        required("factor"),
        RowRule(
            name="factor_not_positive",
            columns=("factor",),
            broken=lambda batch: pc.less_equal(batch.column("factor"), pa.scalar(0)),
            expected="a factor above zero",
            hint="correct the factor in the source",
        ),
    ),
)
