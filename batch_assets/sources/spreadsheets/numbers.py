"""Numbers as people write them, to exact decimals: separators, signs, percent, full-width digits.

Programs store binary numbers with up to 17 digits; what they show has at most 15. Digits beyond
the fifteenth are noise of the arithmetic and are rounded away, everything else is kept exactly.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PLAIN = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_CURRENCY = r"^([+-]?)\s*(?:[¥￥$€£₹]|CNY|RMB|USD|EUR|GBP)\s*"
_CURRENCY_AFTER = r"\s*(?:[¥￥$€£₹元]|CNY|RMB|USD|EUR|GBP)$"
_GROUPED = r"^[+-]?[0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}(?:\.[0-9]*)?$"
_SHOWN_DIGITS = 15
_EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Decimals:
    """Numbers of one column.

    Attributes:
        values: Of the type asked for; null where there is none.
        unreadable: Not a number.
        too_fine: More decimals than the type has.
        too_large: More digits before the point than the type has.
    """

    values: pa.Array
    unreadable: np.ndarray
    too_fine: np.ndarray
    too_large: np.ndarray


def normalise(texts: pa.Array, *, decimal_comma: bool, unit: str) -> tuple[pa.Array, np.ndarray]:
    """Text numbers in the plain form, and which of them were written with a percent sign.

    Args:
        texts: Trimmed text, without nulls.
        decimal_comma: `1.234,50` rather than `1,234.50`.
        unit: May stand behind the number.

    Returns:
        Plain digits where it was a number, else the text as far as it was cleaned.
    """
    clean = texts
    if not pc.all(pc.string_is_ascii(clean)).as_py():
        clean = pc.utf8_normalize(clean, "NFKC")
        clean = pc.replace_substring_regex(clean, "[\u2212\u2010-\u2013\ufe63]", "-")
    clean = pc.utf8_trim_whitespace(clean)
    if unit:
        clean = _without_unit(clean, unit)
    # Accountants write what is owed in brackets; SAP writes the sign behind.
    clean = pc.replace_substring_regex(clean, r"^\(\s*(.+?)\s*\)$", r"-\1")
    clean = pc.replace_substring_regex(clean, r"^'", "")
    clean = pc.replace_substring_regex(clean, _CURRENCY, r"\1")
    clean = pc.replace_substring_regex(clean, _CURRENCY_AFTER, "")
    clean = pc.replace_substring_regex(clean, r"^(.*[0-9.,])\s*-$", r"-\1")
    percent = pc.ends_with(clean, pattern="%")
    clean = pc.replace_substring_regex(clean, r"\s*%$", "")
    # Spaces and apostrophes between groups of three are separators everywhere.
    grouped = pc.match_substring_regex(clean, r"^[+-]?[0-9]{1,3}(?:[ \x{a0}'’][0-9]{3})+(?:[.,]|$)")
    clean = pc.if_else(grouped, pc.replace_substring_regex(clean, r"[ \x{a0}'’]", ""), clean)
    if decimal_comma:
        clean = _swap_separators(clean)
    is_grouped = pc.match_substring_regex(clean, _GROUPED)
    clean = pc.if_else(is_grouped, pc.replace_substring(clean, ",", ""), clean)
    return clean, np.asarray(percent.to_numpy(zero_copy_only=False))


def _without_unit(texts: pa.Array, unit: str) -> pa.Array:
    has_unit = pc.ends_with(pc.utf8_lower(texts), pattern=unit.lower())
    cut = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(texts, 0, -len(unit)))
    return pc.if_else(has_unit, cut, texts)


def _swap_separators(texts: pa.Array) -> pa.Array:
    """Comma and point in each other's place; with a decimal comma, a point only groups."""
    has_comma = pc.match_substring(texts, ",")
    is_grouping = pc.match_substring_regex(texts, r"^[+-]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,|$)")
    is_point = pc.and_(pc.match_substring(texts, "."), pc.invert(is_grouping))
    swapped = pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")
    # `12.5` under a decimal comma is no number of that country: left as a text that is refused.
    refused = pc.and_(is_point, pc.invert(has_comma))
    return pc.if_else(refused, pc.binary_join_element_wise("?", texts, ""), swapped)


def without_noise(texts: pa.Array) -> pa.Array:
    """Stored numbers with at most the digits that programs show."""
    long = np.asarray(pc.greater_equal(pc.binary_length(texts), _SHOWN_DIGITS + 2))
    if not long.any():
        return texts
    mask = pa.array(long)
    rounded = [_shown(text) for text in texts.filter(mask).to_pylist()]
    return pc.replace_with_mask(texts, mask, pa.array(rounded, pa.string()))


def _shown(text: str) -> str:
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return text
    if exact == exact.to_integral_value():
        return text  # whole numbers are kept, however long: order numbers have 17 digits
    return str(Context(prec=_SHOWN_DIGITS, rounding=ROUND_HALF_EVEN).plus(exact))


def parse_decimals(
    texts: pa.Array, kind: pa.Decimal128Type, *, divide: np.ndarray | None, rounding: bool
) -> Decimals:
    """Plain digits to decimals of a type.

    Args:
        texts: Plain digits, without nulls; anything else is unreadable.
        divide: Where True, the number is hundredths (percent signs).
        rounding: Whether more decimals than the type has are rounded, half to even.
    """
    count = len(texts)
    readable = np.asarray(pc.match_substring_regex(texts, _PLAIN).to_numpy(zero_copy_only=False))
    nothing = np.zeros(count, bool)
    if readable.all() and (divide is None or not divide.any()):
        try:
            values = texts.cast(pa.decimal128(38, kind.scale))
            fast = values.cast(kind)
        except pa.ArrowInvalid:
            pass
        else:
            return Decimals(fast, nothing, nothing, nothing)
    return _one_by_one(texts, kind, readable, divide, rounding=rounding)


def _one_by_one(
    texts: pa.Array,
    kind: pa.Decimal128Type,
    readable: np.ndarray,
    divide: np.ndarray | None,
    *,
    rounding: bool,
) -> Decimals:
    """Exact decimals of any length; distinct texts are parsed once."""
    tagged = texts
    if divide is not None and divide.any():
        tagged = pc.if_else(pa.array(divide), pc.binary_join_element_wise(texts, "%", ""), texts)
    encoded = pc.if_else(pa.array(readable), tagged, None).dictionary_encode()
    quantum = Decimal(1).scaleb(-kind.scale)
    limit = Decimal(1).scaleb(kind.precision - kind.scale)
    values: list[Decimal | None] = []
    fine: list[bool] = []
    large: list[bool] = []
    for text in encoded.dictionary.to_pylist():
        exact = Decimal(text.removesuffix("%"))
        if text.endswith("%"):
            exact = _EXACT.multiply(exact, Decimal("0.01"))
        value, is_fine, is_large = _fit(exact, quantum, limit, rounding=rounding)
        values.append(value)
        fine.append(is_fine)
        large.append(is_large)
    codes = encoded.indices
    filled = np.asarray(pc.fill_null(codes, 0).to_numpy(zero_copy_only=False))
    present = np.asarray(pc.is_valid(codes).to_numpy(zero_copy_only=False))
    fine_flags, large_flags = np.array([*fine, False]), np.array([*large, False])
    return Decimals(
        values=pa.array(values, kind).take(codes),
        unreadable=~readable,
        too_fine=present & fine_flags[filled],
        too_large=present & large_flags[filled],
    )


def _fit(
    exact: Decimal, quantum: Decimal, limit: Decimal, *, rounding: bool
) -> tuple[Decimal | None, bool, bool]:
    try:
        value = exact.quantize(quantum, context=_EXACT)
    except InvalidOperation:
        return None, False, True
    if abs(value) >= limit:
        return None, False, True
    if value != exact and not rounding:
        return None, True, False
    return value, False, False
