from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from batch_assets.contracts.severity import Severity
from batch_assets.sources.market.contract import COLUMNS, daily_bars_contract
from batch_assets_tests.sources.market.conftest import FeedMaker

GOOD: dict[str, Any] = {
    "source": "small", "symbol": "600000.SH", "trade_date": None, "open": "10", "high": "11",
    "low": "9", "close": "10.5", "pre_close": "9.9", "volume": "100", "amount": "1000",
    "adjustment": "raw", "status": "traded",
}  # fmt: skip


def broken_rules(feed: Any, **cells: Any) -> list[str]:
    row = {**GOOD, **cells}
    arrays = []
    for field in COLUMNS:
        value = row[field.name]
        if pa.types.is_decimal(field.type) and value is not None:
            value = Decimal(value)
        if field.name == "trade_date":
            value = __import__("datetime").date(2024, 9, 30)
        arrays.append(pa.array([value], field.type))
    batch = pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
    rules = daily_bars_contract(feed).rules
    return [rule.name for rule in rules if pc.any(rule.broken(batch)).as_py()]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, []),
        ({"close": None}, ["missing_value"]),
        ({"volume": None}, ["missing_value"]),
        ({"symbol": None}, ["missing_value"]),
        ({"volume": "-1"}, ["negative_value"]),
        ({"high": "10.4"}, ["prices_out_of_order"]),
        ({"low": "10.1"}, ["prices_out_of_order"]),
        ({"high": None}, []),
        ({"open": None, "high": None, "low": None}, []),
        ({"low": "0"}, ["zero_price"]),
        ({"amount": "1112"}, ["vwap_outside_range"]),
        ({"amount": "1110"}, []),
        ({"amount": "890"}, ["vwap_outside_range"]),
        ({"amount": None}, []),
        ({"amount": "0"}, []),
        ({"close": None, "status": "suspended", "volume": "0"}, []),
        ({"close": None, "status": "no_trade", "volume": "0", "open": None}, []),
    ],
)
def test_rules_find_what_is_wrong_and_nothing_else(
    make_feed: FeedMaker, cells: dict[str, Any], expected: list[str]
) -> None:
    assert broken_rules(make_feed(), **cells) == expected


def test_adjusted_prices_are_not_held_to_the_average_price(make_feed: FeedMaker) -> None:
    assert broken_rules(make_feed(prices="qfq"), amount="5000") == []


def test_the_average_price_only_warns_until_a_share_of_the_day_breaks_it(
    make_feed: FeedMaker,
) -> None:
    rules = {rule.name: rule for rule in daily_bars_contract(make_feed()).rules}

    assert rules["vwap_outside_range"].severity is Severity.WARN
    assert rules["vwap_outside_range"].window_limit_ratio == 0.05


def test_the_fingerprint_differs_between_raw_and_adjusted_feeds(make_feed: FeedMaker) -> None:
    raw, adjusted = make_feed(), make_feed(prices="qfq")

    assert daily_bars_contract(raw).fingerprint != daily_bars_contract(adjusted).fingerprint
