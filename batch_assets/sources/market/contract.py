"""The contract of market.daily_bars and the rules about one bar.

Rules about a day against other days belong in `quality/`.
"""

from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.decimals import as_integers, none_broken
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import RowRule, not_negative, required
from batch_assets.contracts.severity import Severity
from batch_assets.contracts.table import TableContract
from batch_assets.sources.market.columns import NUMBERS, PRICES
from batch_assets.sources.market.feed import Adjustment, Feed
from batch_assets.sources.market.window_checks import COMPLETENESS_CHECK, copy_check

PRICE = pa.decimal128(20, 6)
VOLUME = pa.decimal128(24, 8)
AMOUNT = pa.decimal128(24, 4)
NUMBER_TYPES: dict[str, pa.Decimal128Type] = {
    **dict.fromkeys(PRICES, PRICE),
    "volume": VOLUME,
    "amount": AMOUNT,
}

TRADED, SUSPENDED, NO_TRADE = "traded", "suspended", "no_trade"
COLUMNS = pa.schema(
    [
        ("source", pa.string()),
        ("symbol", pa.string()),
        ("trade_date", pa.date32()),
        *((name, NUMBER_TYPES[name]) for name in NUMBERS),
        ("adjustment", pa.string()),
        ("status", pa.string()),
    ]
)

# Measured on the whole A-share dump: raw days stay far under 1 %, while prices adjusted behind a
# raw header, or lots taken for shares, put 9 to 100 % of a day outside.
VWAP_TOLERANCE_RATIO = 0.01
VWAP_LIMIT_RATIO = 0.05


def daily_bars_contract(feed: Feed) -> TableContract:
    """What one feed promises about its bars."""
    rules = [
        required("symbol"),
        required("trade_date"),
        _required_when_traded("close"),
        required("volume"),
        *(not_negative(column) for column in NUMBERS),
        _zero_price(),
        _prices_out_of_order(feed.ohlc_severity),
    ]
    if feed.prices is Adjustment.RAW:
        rules.append(_vwap_outside_range())
    return TableContract(
        target="market.daily_bars",
        columns=COLUMNS,
        key=("source", "symbol", "trade_date"),
        disposition=Disposition.MERGE,
        window_column="trade_date",
        scope_columns=("source",),
        rules=tuple(rules),
        history_table="market.daily_bars_history",
        window_checks=(copy_check(feed.identical_days), COMPLETENESS_CHECK),
    )


def _is_traded(batch: pa.RecordBatch) -> pa.BooleanArray:
    return pc.equal(batch.column("status"), TRADED)


def _required_when_traded(column: str) -> RowRule:
    return RowRule(
        name="missing_value",
        columns=(column, "status"),
        broken=lambda batch: pc.and_(pc.is_null(batch.column(column)), _is_traded(batch)),
        expected="a value, unless the symbol was suspended or did not trade",
        hint="fill the cell in the source",
    )


def _zero_price() -> RowRule:
    def broken(batch: pa.RecordBatch) -> pa.BooleanArray:
        known = [as_integers(batch.column(name)) for name in PRICES[:4]]
        if all(prices is not None and prices.all() for prices in known):
            return none_broken(batch.num_rows)
        zero = [pc.equal(batch.column(name), pa.scalar(0)) for name in PRICES[:4]]
        any_zero = reduce(pc.or_kleene, zero)
        return pc.and_kleene(any_zero, _is_traded(batch))

    return RowRule(
        name="zero_price",
        columns=("close", *PRICES[:3], "status"),
        broken=broken,
        expected="prices above zero where the symbol traded",
        hint="correct the price, or set the volume to 0 if it did not trade",
    )


def _prices_out_of_order(severity: Severity) -> RowRule:
    def broken(batch: pa.RecordBatch) -> pa.BooleanArray:
        high, low = batch.column("high"), batch.column("low")
        if _are_surely_in_order(batch):
            return none_broken(batch.num_rows)
        # Null prices are left out of the extremes, and a null high or low breaks nothing.
        highest = pc.max_element_wise(batch.column("open"), batch.column("close"), low)
        lowest = pc.min_element_wise(batch.column("open"), batch.column("close"), high)
        return pc.or_(
            pc.fill_null(pc.less(high, highest), False),
            pc.fill_null(pc.greater(low, lowest), False),
        )

    return RowRule(
        name="prices_out_of_order",
        columns=("high", "low", "open", "close"),
        broken=broken,
        expected="high at least, and low at most, open and close",
        hint='correct the prices, or set ohlc_rule = "warn" if the exchange publishes such bars',
        severity=severity,
    )


def _are_surely_in_order(batch: pa.RecordBatch) -> bool:
    known = [as_integers(batch.column(name)) for name in PRICES[:4]]
    opened, high, low, close = known
    if opened is None or high is None or low is None or close is None:
        return False
    highest, lowest = np.maximum(opened, close), np.minimum(opened, close)
    return bool((high >= highest).all() and (low <= lowest).all())


def _vwap_outside_range() -> RowRule:
    return RowRule(
        name="vwap_outside_range",
        columns=("amount", "volume", "high", "low"),
        broken=_vwap_broken,
        expected="amount / volume between low and high, within 1 %",
        hint="wrong unit or adjusted prices: check volume_unit and amount_scale, or declare "
        'prices = "qfq" or "hfq"',
        severity=Severity.WARN,
        window_limit_ratio=VWAP_LIMIT_RATIO,
    )


def _vwap_broken(batch: pa.RecordBatch) -> pa.BooleanArray:
    names = ("amount", "volume", "high", "low")
    known = [_as_floats(batch.column(name)) for name in names]
    amount, volume, high, low = known
    if amount is None or volume is None or high is None or low is None:
        return _vwap_broken_with_nulls(*(batch.column(name) for name in names))
    above = amount > high * volume * (1 + VWAP_TOLERANCE_RATIO)
    below = amount < low * volume * (1 - VWAP_TOLERANCE_RATIO)
    broken = (above | below) & (volume > 0) & (amount > 0)
    return pa.array(broken) if broken.any() else none_broken(batch.num_rows)


def _as_floats(values: pa.Array) -> np.ndarray | None:
    """A tolerance of 1 % needs no exact arithmetic; None as in as_integers."""
    integers = as_integers(values)
    return None if integers is None else integers / 10.0**values.type.scale


def _vwap_broken_with_nulls(*columns: pa.Array) -> pa.BooleanArray:
    amount, volume, high, low = (pc.cast(column, pa.float64()) for column in columns)
    above = pc.greater(amount, pc.multiply(pc.multiply(high, volume), 1 + VWAP_TOLERANCE_RATIO))
    below = pc.less(amount, pc.multiply(pc.multiply(low, volume), 1 - VWAP_TOLERANCE_RATIO))
    has_traded = pc.and_(pc.greater(volume, 0), pc.greater(amount, 0))
    return pc.and_kleene(pc.or_kleene(above, below), has_traded)
