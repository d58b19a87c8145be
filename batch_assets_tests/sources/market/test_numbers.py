from decimal import ROUND_HALF_EVEN, Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.sources.market.contract import AMOUNT, PRICE, VOLUME
from batch_assets.sources.market.numbers import NumberColumn, adopt_decimals, parse_numbers

CLOSE = NumberColumn("close", PRICE, Decimal(1))
LOTS = NumberColumn("volume", VOLUME, Decimal(100))
LACS = NumberColumn("amount", AMOUNT, Decimal(100_000))
LEAN = NumberColumn("close", PRICE, Decimal("0.0001"))


def parse_one(text: str, column: NumberColumn = CLOSE) -> Decimal | None:
    parsed = parse_numbers(pa.array([text]), column)
    assert (parsed.bad is not None) == (parsed.values.null_count == 1)
    value: Decimal | None = parsed.values[0].as_py()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10.8", "10.8"), (" 10.8 ", "10.8"), ("+0.35", "0.35"), (".5", "0.5"), ("5.", "5"),
        ("-1", "-1"), ("1,863,000", "1863000"), ("1,234.5", "1234.5"), ("'12", "12"),
        ("3.69542692198e+11", "369542692198"), ("1E-3", "0.001"),
        ("99999999999999.999999", "99999999999999.999999"),
    ],
)  # fmt: skip
def test_spellings_of_numbers_are_exact(text: str, value: str) -> None:
    assert parse_one(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    ["X0.00", "abc", "1.2.3", "1,2", "12,34", "nan", "NaN", "inf", "-Infinity", "1e", "0x10", "1_0",
     "１２", "--1", "100000000000000", "1e999", "1 2"],
)  # fmt: skip
def test_what_is_no_number_that_fits_is_bad(text: str) -> None:
    assert parse_one(text) is None


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (LOTS, "443610.99", "44361099"), (LACS, "1.52", "152000"), (LEAN, "136300", "13.63"),
        (NumberColumn("amount", AMOUNT, Decimal(1000)), "431665.627", "431665627"),
        (NumberColumn("volume", VOLUME, Decimal(250)), "1.5", "375"),
        (NumberColumn("volume", VOLUME, Decimal("1e9")), "1.5", "1500000000"),
        (NumberColumn("close", PRICE, Decimal("1e-8")), "2545000000", "25.45"),
    ],
)  # fmt: skip
def test_units_are_applied_exactly(column: NumberColumn, text: str, value: str) -> None:
    assert parse_one(text, column) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.07000000000000028", "0.07"), ("1.0000005", "1"), ("1.0000015", "1.000002"),
        ("1.00000050000000000000000000000000000000000001", "1.000001"),
    ],
)  # fmt: skip
def test_more_decimals_than_the_column_are_rounded_half_to_even_and_counted(
    text: str, value: str
) -> None:
    parsed = parse_numbers(pa.array([text, "2.5"]), CLOSE)

    assert parsed.values.to_pylist() == [Decimal(value), Decimal("2.5")]
    assert parsed.rounded_count == 1


def test_one_bad_cell_costs_no_other() -> None:
    parsed = parse_numbers(pa.array(["1.5", "x", None, "2.25"]), LOTS)

    assert parsed.values.to_pylist() == [Decimal(150), None, None, Decimal(225)]
    assert parsed.bad is not None
    assert parsed.bad.to_pylist() == [False, True, False, False]


def test_a_value_beyond_the_precision_is_found_although_the_reader_took_it() -> None:
    wide = pa.array([Decimal("1e15")], LOTS.read_type)

    assert adopt_decimals(wide, CLOSE_OF_WIDE) is None


CLOSE_OF_WIDE = NumberColumn("close", pa.decimal128(20, 8), Decimal(100))
TEXTS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**13), max_value=10**13)


@given(st.lists(TEXTS, min_size=1, max_size=20), st.sampled_from([CLOSE, LOTS, LACS, LEAN]))
def test_parsing_equals_decimal_arithmetic(numbers: list[Decimal], column: NumberColumn) -> None:
    exact = Context(prec=100, rounding=ROUND_HALF_EVEN)
    quantum = Decimal(1).scaleb(-column.type.scale)
    expected = [
        exact.multiply(number, column.unit).quantize(quantum, context=exact) for number in numbers
    ]
    limit = Decimal(10) ** (column.type.precision - column.type.scale)

    parsed = parse_numbers(pa.array([str(number) for number in numbers]), column)

    assert parsed.values.to_pylist() == [
        value if abs(value) < limit else None for value in expected
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("10,8", "10.8"), ("1.863.000", "1863000"), ("1.234,5", "1234.5"), ("12", "12"),
     ("-0,25", "-0.25"), (",5", "0.5"), ("12.345", "12345"), ("1,5e3", "1500"),
     ("10.8", None), ("1,234.5", None), ("1,234,567", None), ("1.23,4", None)],
)  # fmt: skip
def test_a_decimal_comma_is_read_and_a_point_that_does_not_group_is_refused(
    text: str, value: str | None
) -> None:
    parsed = parse_numbers(pa.array([text]), CLOSE, decimal_comma=True)

    assert parsed.values[0].as_py() == (None if value is None else Decimal(value))
    assert (parsed.bad is not None) == (value is None)
