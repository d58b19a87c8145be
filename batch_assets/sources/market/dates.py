"""Dates as vendors write them, to Arrow dates, by pattern and never by guess.

Parts of a format (date_formats.py) become days by arithmetic, so that 30 February is refused rather
than moved to March.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.market.date_formats import EPOCHS, ROC_OFFSET_YEARS, regex_of

FIRST_SHORT_YEAR = 69  # POSIX: 69 to 99 are 19xx
# Day 0 of a workbook's serial dates, after the leap year 1900 that never was (ECMA-376 18.17.4).
EXCEL_DAY_ZERO = np.datetime64("1899-12-30", "D")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def parse_dates(texts: pa.Array, date_format: str, zone_name: str) -> pa.Array:
    """Dates of texts; null where the text is none.

    Args:
        texts: Trimmed text, best the distinct values of a column.
        date_format: `auto` (ISO order, any of `-/.`, 年月日 or none), `roc`, `epoch_s|ms|us|ns`,
            `excel_serial`, a name of NAMED_FORMATS, or a strptime pattern.
        zone_name: Zone in which an instant becomes the exchange's date.
    """
    if date_format in EPOCHS:
        return _from_epoch(texts, EPOCHS[date_format], zone_name)
    if date_format == "excel_serial":
        return _from_serial(texts)
    parts = pc.extract_regex(texts, regex_of(date_format))
    names = [field.name for field in parts.type]
    groups = {name: pc.struct_field(parts, name) for name in names}
    year = _any(groups, "y", "y2")
    if "y2" in groups:
        year = np.where(year >= FIRST_SHORT_YEAR, year + 1900, year + 2000)
    if date_format == "roc":
        year = year + ROC_OFFSET_YEARS
    month = _month(groups["b"]) if "b" in groups else _any(groups, "m", "m2", "m3")
    day = _any(groups, "d", "d2", "d3")
    matched = np.asarray(pc.is_valid(parts).to_numpy(zero_copy_only=False))
    return _assemble(year, month, day, matched)


def _whole(texts: pa.Array) -> np.ndarray:
    digits = pc.if_else(pc.equal(pc.fill_null(texts, ""), ""), None, texts)
    filled = pc.fill_null(pc.cast(digits, pa.int64()), 0)
    return np.asarray(filled.to_numpy(zero_copy_only=False))


def _any(groups: dict[str, pa.Array], *names: str) -> np.ndarray:
    # Of alternatives in one pattern at most one has text; the others are zero.
    return np.asarray(sum(_whole(groups[name]) for name in names if name in groups))


def _month(names: pa.Array) -> np.ndarray:
    short = pc.utf8_slice_codeunits(pc.utf8_lower(names), 0, 3)
    place = pc.index_in(short, value_set=pa.array(_MONTHS))
    return np.asarray(pc.add(pc.fill_null(place, -1), 1).to_numpy(zero_copy_only=False))


def _assemble(
    year: np.ndarray, month: np.ndarray, day: np.ndarray, matched: np.ndarray
) -> pa.Array:
    plausible = matched & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    first = (np.where(plausible, year, 1970) - 1970) * 12 + np.where(plausible, month, 1) - 1
    start = first.astype("datetime64[M]")
    length = ((start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")).astype(np.int64)
    valid = plausible & (day <= length)
    days = start.astype("datetime64[D]").astype(np.int64) + day - 1
    return _days(days, valid)


def _days(days: np.ndarray, valid: np.ndarray) -> pa.Array:
    values = pa.array(np.where(valid, days, 0).astype(np.int32), mask=~valid)
    return values.cast(pa.date32())


def _digits(texts: pa.Array) -> pa.Array:
    whole = pc.replace_substring_regex(texts, r"^(-?\d{1,18})\.0*$", r"\1")
    return pc.cast(
        pc.if_else(pc.match_substring_regex(whole, r"^-?\d{1,18}$"), whole, None), pa.int64()
    )


def _from_epoch(texts: pa.Array, per_second: int, zone_name: str) -> pa.Array:
    # The date depends on the zone: midnight in Shanghai is the day before in UTC.
    seconds = pc.divide(_digits(texts), per_second)
    zone = ZoneInfo(zone_name)
    return pa.array([_local_date(second, zone) for second in seconds.to_pylist()], pa.date32())


def _local_date(second: int | None, zone: ZoneInfo) -> date | None:
    if second is None:
        return None
    try:
        return datetime.fromtimestamp(second, zone).date()
    except (ValueError, OverflowError, OSError):
        return None


def _from_serial(texts: pa.Array) -> pa.Array:
    serial = _digits(texts)
    # Below 61 the two date systems of workbooks disagree; no bar is that old.
    valid = pc.fill_null(pc.and_(pc.greater(serial, 60), pc.less(serial, 2_958_466)), False)
    days = np.asarray(pc.fill_null(serial, 0).to_numpy(zero_copy_only=False))
    return _days(days + EXCEL_DAY_ZERO.astype(np.int64), np.asarray(valid))
