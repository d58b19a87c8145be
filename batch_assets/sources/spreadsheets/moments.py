"""Dates, times of day and timestamps: serial numbers of workbooks, ISO text, declared formats.

Everything is counted in milliseconds, which is what a serial number can hold; day and month are
never guessed.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.market.dates import parse_dates
from batch_assets.sources.spreadsheets.moment_formats import date_part_of

DAY_MS = 86_400_000
# Day 0 of the two date systems (ECMA-376 part 1, 18.17.4.1). That of 1900 counts a 29 February
# 1900 that never was, as serial 60: days before it are one later.
_ZERO_1900 = (date(1899, 12, 30) - date(1970, 1, 1)).days
_ZERO_1904 = (date(1904, 1, 1) - date(1970, 1, 1)).days
_FALSE_LEAP_DAY = 60
_MAX_SERIAL = 2_958_466  # the day after 9999-12-31
_TIME = (
    r"(?P<h>\d{1,2})[:：时点](?P<mi>\d{1,2})(?:[:：分](?P<s>\d{1,2})(?:[.,](?P<f>\d{1,6}))?)?"
    r"[秒分]?\s*(?P<ap>[AaPp]\.?[Mm]\.?|上午|下午)?"
)
_MOMENT = rf"^(?P<d>.*?\d.*?[^\s:：])??(?:(?:\s+|T)?{_TIME})?(?P<z>Z|[+-]\d{{2}}:?\d{{2}})?$"
MILLISECONDS = pa.timestamp("ms")


class Moments:
    """Parsed values as milliseconds since 1970, with what could not be read."""

    __slots__ = ("bad", "milliseconds")

    def __init__(self, milliseconds: np.ndarray, bad: np.ndarray) -> None:
        self.milliseconds = milliseconds
        self.bad = bad


def from_serials(texts: pa.Array, *, is_1904: bool, is_time: bool = False) -> Moments:
    """Serial numbers of a workbook.

    Args:
        texts: Numbers in digits, without nulls.
        is_1904: Whether they count from 1904.
        is_time: Only the time of day is wanted; then day 0 is allowed.
    """
    serials = _floats(texts)
    bad = ~np.isfinite(serials)
    filled = np.where(bad, 0.0, serials)
    whole = np.floor(filled)
    bad |= (whole < (0 if is_time or is_1904 else 1)) | (whole >= _MAX_SERIAL)
    if is_1904:
        days = np.full(len(whole), _ZERO_1904, np.float64)
    else:
        bad |= (whole == _FALSE_LEAP_DAY) & (not is_time)
        days = np.where(whole < _FALSE_LEAP_DAY, _ZERO_1900 + 1.0, _ZERO_1900)
    milliseconds = np.where(bad, 0.0, np.rint((filled + days) * DAY_MS))
    return Moments(milliseconds.astype(np.int64), bad)


def durations(texts: pa.Array) -> Moments:
    """Serial numbers as a length of time, in milliseconds; for times of day."""
    serials = _floats(texts)
    bad = ~(np.isfinite(serials) & (serials >= 0) & (serials < 1))
    return Moments(np.rint(np.where(bad, 0.0, serials) * DAY_MS).astype(np.int64), bad)


def from_texts(texts: pa.Array, formats: tuple[str, ...]) -> Moments:
    """Dates with or without a time of day, by the first format that fits.

    Args:
        texts: Trimmed text, without nulls.
        formats: `auto` (ISO order), names and patterns of market dates, `excel_serial`.
    """
    distinct = texts.dictionary_encode()
    milliseconds = np.zeros(len(distinct.dictionary), np.int64)
    bad = np.ones(len(distinct.dictionary), bool)
    for date_format in formats:
        if not bad.any():
            break
        found = _parse(distinct.dictionary, date_format)
        milliseconds = np.where(bad, found.milliseconds, milliseconds)
        bad &= found.bad
    codes = distinct.indices.to_numpy()
    return Moments(milliseconds[codes], bad[codes])


def times_from_texts(texts: pa.Array) -> Moments:
    """Times of day (`13:05`, `1:05:07 PM`), in milliseconds since midnight."""
    parts = pc.extract_regex(texts, f"^{_TIME}$")
    found = _time_of(parts)
    return Moments(found.milliseconds, found.bad | _is_null(parts))


def _parse(texts: pa.Array, date_format: str) -> Moments:
    if date_format == "excel_serial":
        return from_serials(texts, is_1904=False)
    parts = pc.extract_regex(texts, _MOMENT)
    has_time = pc.not_equal(pc.struct_field(parts, "h"), "")
    day_texts = pc.if_else(has_time, pc.struct_field(parts, "d"), texts)
    zones = pc.struct_field(parts, "z")
    days = parse_dates(
        pc.fill_null(pc.utf8_trim_whitespace(day_texts), ""), date_part_of(date_format), "UTC"
    )
    times = _time_of(parts)
    bad = _is_null(days) | (times.bad & ~_is_null(parts))
    # An instant with a zone of its own is not a wall clock; reading it as one would shift it.
    bad |= np.asarray(pc.fill_null(pc.and_(has_time, pc.not_equal(zones, "")), False))
    day_numbers = pc.fill_null(days.cast(pa.int32()), 0).to_numpy(zero_copy_only=False)
    milliseconds = day_numbers.astype(np.int64) * DAY_MS + np.where(bad, 0, times.milliseconds)
    return Moments(np.where(bad, 0, milliseconds), bad)


def _time_of(parts: pa.Array) -> Moments:
    """Milliseconds of the parts of `_TIME`; no time is midnight."""
    hours, minutes, seconds = (_number(parts, name) for name in ("h", "mi", "s"))
    fractions = pc.utf8_rpad(pc.fill_null(pc.struct_field(parts, "f"), ""), 3, "0")
    thousandths = _as_numbers(pc.utf8_slice_codeunits(fractions, 0, 3))
    half = pc.utf8_lower(pc.replace_substring(pc.struct_field(parts, "ap"), ".", ""))
    is_afternoon = np.asarray(pc.fill_null(pc.is_in(half, pa.array(["pm", "下午"])), False))
    is_morning = np.asarray(pc.fill_null(pc.is_in(half, pa.array(["am", "上午"])), False))
    bad = (hours > 23) | (minutes > 59) | (seconds > 59)
    bad |= (is_afternoon | is_morning) & ((hours > 12) | (hours < 1))
    hours = np.where(is_afternoon & (hours < 12), hours + 12, hours)
    hours = np.where(is_morning & (hours == 12), 0, hours)
    return Moments(((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths, bad)


def _number(parts: pa.Array, name: str) -> np.ndarray:
    return _as_numbers(pc.fill_null(pc.struct_field(parts, name), ""))


def _as_numbers(digits: pa.Array) -> np.ndarray:
    filled = pc.if_else(pc.equal(digits, ""), "0", digits)
    return np.asarray(filled.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _is_null(values: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_null(values).to_numpy(zero_copy_only=False))


def _floats(texts: pa.Array) -> np.ndarray:
    try:
        return np.asarray(texts.cast(pa.float64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.array([_float(text) for text in texts.to_pylist()])


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
