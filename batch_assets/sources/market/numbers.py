"""Numbers as vendors write them, to exact decimals.

No value passes through a binary float. Powers of ten cost nothing: the text is read at a scale
shifted by the exponent, and the same 128-bit integers are then seen at the column's own scale.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.decimals import words

ROUNDING_RULE = "rounded_half_even"
"""Name under which cells with more decimals than the column are counted."""

_PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?$"
_GROUPED = r"^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?$"
# In the places of the two above, where the comma is before the decimals and the point groups.
_COMMA_PLAIN = r"^[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d{1,3})?$"
_COMMA_GROUPED = r"^[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?$"
_WIDE = pa.decimal256(76, 38)
_DIGITS_OF_64_BITS = 20
_MAX_READ_SCALE = 20
_EXACT = Context(prec=120, rounding="ROUND_HALF_EVEN")


_HAS_DIGIT = re.compile(r"\d")


def has_numbers(nulls: Iterable[str]) -> bool:
    """Whether a spelling of null may be one of a number."""
    return any(_HAS_DIGIT.search(text) for text in nulls)


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """How the text of one column becomes its decimal.

    Attributes:
        target: The contract's column.
        type: The contract's type.
        unit: What one unit of the file is worth in units of the column.
    """

    target: str
    type: pa.Decimal128Type
    unit: Decimal

    @property
    def shift(self) -> int | None:
        """The unit as a power of ten, None if it is none that the scales can take."""
        return _shift(self.unit, self.type.scale)

    @property
    def read_type(self) -> pa.DataType:
        """Type the reader may parse text into directly."""
        return pa.decimal128(38, self.type.scale + (self.shift or 0))


@lru_cache(maxsize=256)
def _shift(unit: Decimal, scale: int) -> int | None:
    shift = int(unit.normalize(_EXACT).as_tuple().exponent)
    is_power = unit == Decimal(1).scaleb(shift)
    return shift if is_power and 0 <= scale + shift <= _MAX_READ_SCALE else None


@dataclass(frozen=True, slots=True)
class Numbers:
    """A parsed column.

    Attributes:
        values: Of the contract's type; null where empty or not a number.
        bad: True where there is text but no number; None if there is no such row.
        rounded_count: Cells with more decimals than the column has, rounded half to even.
    """

    values: pa.Array
    bad: pa.BooleanArray | None = None
    rounded_count: int = 0


def adopt_decimals(values: pa.Array, column: NumberColumn) -> Numbers | None:
    """See decimals of `read_type` as the column's type; None if one does not fit."""
    if column.shift is None:
        return parse_numbers(values.cast(pa.string()), column)
    seen = _reinterpret(values, pa.decimal128(38, column.type.scale))
    if not _fits(seen, column.type):
        return None
    return Numbers(_reinterpret(seen, column.type))


def parse_numbers(texts: pa.Array, column: NumberColumn, *, decimal_comma: bool = False) -> Numbers:
    """Parse text of a column, nulls already taken out.

    Args:
        texts: Text; blanks around it, a leading apostrophe and thousands separators are allowed.
        column: Target type and unit.
        decimal_comma: `1.234,5` rather than `1,234.5`; a point that does not group is refused.
    """
    texts = pc.utf8_trim_whitespace(texts)
    adopted = None if decimal_comma else adopt_texts(texts, column)
    return _parse_slowly(texts, column, decimal_comma) if adopted is None else adopted


def adopt_texts(texts: pa.Array, column: NumberColumn) -> Numbers | None:
    """Parse text of which every cell is a plain number or null; None if one is anything else."""
    if column.shift is None:
        return None
    try:
        return adopt_decimals(texts.cast(column.read_type), column)
    except pa.ArrowInvalid:
        return None


def _parse_slowly(texts: pa.Array, column: NumberColumn, decimal_comma: bool) -> Numbers:
    in_groups, plain, separator = _GROUPED, _PLAIN, ","
    if decimal_comma:
        in_groups, plain, separator = _COMMA_GROUPED, _COMMA_PLAIN, "."
    clean = pc.utf8_ltrim(texts, "'")
    grouped = pc.fill_null(pc.match_substring_regex(clean, in_groups), False)
    clean = pc.if_else(grouped, pc.replace_substring(clean, separator, ""), clean)
    is_number = pc.fill_null(pc.match_substring_regex(clean, plain), False)
    numbers = pc.if_else(is_number, clean, None)
    if decimal_comma:
        numbers = pc.replace_substring(numbers, ",", ".")
    try:
        parsed = _round(numbers, column)
    except pa.ArrowInvalid:
        parsed = None
    values, rounded_count = parsed or _one_by_one(numbers, column)
    bad = pc.and_(pc.is_valid(texts), pc.is_null(values))
    return Numbers(values, bad if pc.any(bad).as_py() else None, rounded_count)


def _round(numbers: pa.Array, column: NumberColumn) -> tuple[pa.Array, int] | None:
    if column.shift is None:
        return None
    exact = numbers.cast(_WIDE)
    rounded = pc.round(exact, ndigits=column.type.scale + column.shift, round_mode="half_to_even")
    adopted = adopt_decimals(rounded.cast(column.read_type), column)
    if adopted is None:
        return None
    return adopted.values, pc.sum(pc.not_equal(rounded, exact)).as_py() or 0


def _one_by_one(texts: pa.Array, column: NumberColumn) -> tuple[pa.Array, int]:
    """Exact decimals of any length; distinct texts are parsed once."""
    encoded = texts.dictionary_encode()
    quantum = Decimal(1).scaleb(-column.type.scale)
    limit = Decimal(1).scaleb(column.type.precision - column.type.scale)
    parsed: list[Decimal | None] = []
    rounded: list[bool] = []
    for text in encoded.dictionary.to_pylist():
        exact = _EXACT.multiply(Decimal(text), column.unit)
        try:
            value: Decimal | None = exact.quantize(quantum, context=_EXACT)
        except InvalidOperation:
            value = None
        if value is not None and abs(value) >= limit:
            value = None
        parsed.append(value)
        rounded.append(value is not None and value != exact)
    values = pa.array(parsed, column.type).take(encoded.indices)
    count = pc.sum(pa.array(rounded, pa.bool_()).take(encoded.indices)).as_py() or 0
    return values, count


def _fits(values: pa.Array, to: pa.Decimal128Type) -> bool:
    # The CSV reader does not check precision. Where the upper 64 bits of every value only repeat
    # the sign, all are below 1.9e19, and one look at those words is ten times as fast as min_max.
    if to.precision >= _DIGITS_OF_64_BITS and _is_small(values):
        return True
    extremes = pc.min_max(values).as_py()
    limit = Decimal(1).scaleb(to.precision - to.scale)
    return all(extreme is None or abs(extreme) < limit for extreme in extremes.values())


def is_all_positive(values: pa.Array) -> bool:
    """Whether every decimal surely is above zero; False also where there is a null."""
    if values.null_count:
        return False
    lower, upper = words(values)
    return not ((upper < 0) | ((upper == 0) & (lower == 0))).any()


def _is_small(values: pa.Array) -> bool:
    _, upper = words(values)
    return not upper.any() or bool((np.abs(upper) <= 1).all() and (upper <= 0).all())


def _reinterpret(values: pa.Array, to: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(to, len(values), values.buffers(), offset=values.offset)
