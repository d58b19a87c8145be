"""From cells to values of a declared type, a column at a time.

Nothing is guessed and nothing is lost: what a cell cannot mean is refused with a rule.
"""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.spreadsheets import moments, numbers
from batch_assets.sources.spreadsheets.cell_rules import CellRule
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind
from batch_assets.sources.spreadsheets.column_types import TypeName
from batch_assets.sources.spreadsheets.template import ColumnTemplate


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """Values of one column.

    Attributes:
        values: Of the column's Arrow type; null where empty or refused.
        problems: `CellRule` of each cell, uint8.
    """

    values: pa.Array
    problems: np.ndarray


def type_column(cells: CellColumn, column: ColumnTemplate, *, is_1904: bool) -> TypedColumn:
    """Give cells the meaning that the template declares."""
    problems = np.zeros(len(cells.kinds), np.uint8)
    problems[cells.kinds == Kind.ERROR] = CellRule.ERROR_CELL
    problems[cells.kinds == Kind.UNCALCULATED] = CellRule.FORMULA_WITHOUT_VALUE
    texts = _trim(cells, column, problems)
    match column.column_type.name:
        case TypeName.TEXT:
            values = _as_text(texts, cells, is_1904=is_1904)
        case TypeName.BOOLEAN:
            values = _as_boolean(texts, cells, column, problems)
        case TypeName.DATE | TypeName.TIMESTAMP | TypeName.TIME:
            values = _as_moment(texts, cells, column, problems, is_1904=is_1904)
        case _:
            values = _as_number(texts, cells, column, problems)
    return TypedColumn(values, problems)


def _trim(cells: CellColumn, column: ColumnTemplate, problems: np.ndarray) -> pa.Array:
    """Texts without the blanks around them; null where a cell is empty, refused or means null."""
    texts = cells.texts
    if (cells.kinds == Kind.TEXT).any():
        texts = pc.utf8_trim_whitespace(texts)
        is_nul = np.asarray(pc.fill_null(pc.match_substring(texts, "\x00"), False))
        problems[is_nul & (problems == 0)] = CellRule.NUL_CHARACTER
        is_null = pc.is_in(texts, pa.array(sorted({"", *column.nulls}), pa.string()))
        texts = pc.if_else(is_null, None, texts)
    if problems.any():
        texts = pc.if_else(pa.array(problems > 0), None, texts)
    return texts


def _valid(texts: pa.Array, cells: CellColumn, *kinds: Kind) -> np.ndarray:
    mask: np.ndarray = cells.kinds == kinds[0]
    for kind in kinds[1:]:
        mask |= cells.kinds == kind
    if texts.null_count:
        mask &= np.asarray(pc.is_valid(texts))
    return mask


def _fill(count: int, mask: np.ndarray, values: pa.Array) -> pa.Array:
    """Values at the places of a mask, null elsewhere."""
    if mask.all():
        return values
    places = np.full(count, -1, np.int64)
    places[mask] = np.arange(len(values))
    return pc.take(values, pa.array(places, mask=~mask))


def _combine(parts: list[tuple[np.ndarray, pa.Array]], count: int, kind: pa.DataType) -> pa.Array:
    parts = [(mask, values) for mask, values in parts if len(values)]
    if not parts:
        return pa.nulls(count, kind)
    filled = [_fill(count, mask, values) for mask, values in parts]
    return filled[0] if len(filled) == 1 else pc.coalesce(*filled)


def _as_text(texts: pa.Array, cells: CellColumn, *, is_1904: bool) -> pa.Array:
    """What a person sees: digits, ISO dates, TRUE and FALSE."""
    kinds = cells.count()
    if kinds[Kind.NUMBER]:
        texts = _plain_numbers(texts, cells)
    if kinds[Kind.BOOLEAN]:
        mask = _valid(texts, cells, Kind.BOOLEAN)
        words = pc.if_else(pc.equal(texts.filter(pa.array(mask)), "1"), "TRUE", "FALSE")
        texts = pc.replace_with_mask(texts, pa.array(mask), words)
    if kinds[Kind.SERIAL]:
        mask = _valid(texts, cells, Kind.SERIAL)
        found = moments.from_serials(texts.filter(pa.array(mask)), is_1904=is_1904, is_time=True)
        shown = [_moment_text(value) for value in found.milliseconds.tolist()]
        kept = pc.if_else(pa.array(found.bad), texts.filter(pa.array(mask)), pa.array(shown))
        texts = pc.replace_with_mask(texts, pa.array(mask), kept)
    return texts


def _plain_numbers(texts: pa.Array, cells: CellColumn) -> pa.Array:
    mask = _valid(texts, cells, Kind.NUMBER)
    chosen = numbers.without_noise(texts.filter(pa.array(mask)))
    exponents = pc.match_substring_regex(chosen, "[eE]")
    if pc.any(exponents).as_py():
        plain = [
            f"{Decimal(text):f}" if "e" in text.lower() else text for text in chosen.to_pylist()
        ]
        chosen = pa.array(plain, pa.string())
    if cells.pads is not None:
        chosen = _pad(chosen, cells.pads[mask])
    return pc.replace_with_mask(texts, pa.array(mask), chosen)


def _pad(texts: pa.Array, pads: np.ndarray) -> pa.Array:
    for width in np.unique(pads[pads > 0]).tolist():
        texts = pc.if_else(
            pa.array(pads == width), pc.utf8_lpad(texts, int(width), padding="0"), texts
        )
    return texts


def _moment_text(milliseconds: int) -> str:
    moment = np.datetime64(milliseconds, "ms")
    day = moment.astype("datetime64[D]")
    if moment == day:
        return str(day)
    clock = str(moment).partition("T")[2].removesuffix(".000")
    # Day 0 of a workbook is a time without a date.
    return clock if day < np.datetime64("1900-01-01") else f"{day} {clock}"


def _as_boolean(
    texts: pa.Array, cells: CellColumn, column: ColumnTemplate, problems: np.ndarray
) -> pa.Array:
    lowered = pc.utf8_lower(texts)
    is_true = pc.is_in(lowered, pa.array([word.lower() for word in column.true]))
    is_false = pc.is_in(lowered, pa.array([word.lower() for word in column.false]))
    present = np.asarray(pc.is_valid(texts))
    stored = cells.kinds == Kind.BOOLEAN
    ones = np.asarray(pc.fill_null(pc.equal(texts, "1"), False))
    truth = np.where(stored, ones, np.asarray(is_true))
    known = stored | np.asarray(is_true) | np.asarray(is_false)
    problems[present & ~known] = CellRule.UNPARSABLE_BOOLEAN
    return pa.array(truth.astype(bool), mask=~(present & known))


def _as_number(
    texts: pa.Array, cells: CellColumn, column: ColumnTemplate, problems: np.ndarray
) -> pa.Array:
    kind = column.column_type
    is_integer = kind.name is TypeName.INTEGER
    # 18 digits fit into a bigint whatever they are; longer numbers are names and want text.
    target = pa.decimal128(18, 0) if is_integer else kind.arrow()
    wrong = _valid(texts, cells, Kind.BOOLEAN, Kind.SERIAL, Kind.ISO)
    problems[wrong] = CellRule.WRONG_KIND
    stored = _valid(texts, cells, Kind.NUMBER)
    written = _valid(texts, cells, Kind.TEXT)
    parts = []
    for mask, is_text in ((stored, False), (written, True)):
        if not mask.any():
            continue
        chosen = texts.filter(pa.array(mask))
        percent = None
        if is_text:
            chosen, percent = numbers.normalise(
                chosen, decimal_comma=column.decimal_comma, unit=column.unit
            )
        else:
            chosen = numbers.without_noise(chosen)
        found = numbers.parse_decimals(chosen, target, divide=percent, rounding=column.round)
        fine = CellRule.NOT_AN_INTEGER if is_integer else CellRule.TOO_MANY_DECIMALS
        _mark(problems, mask, found.unreadable, CellRule.UNPARSABLE_NUMBER)
        _mark(problems, mask, found.too_fine, fine)
        _mark(problems, mask, found.too_large, CellRule.NUMBER_TOO_LARGE)
        parts.append((mask, found.values))
    values = _combine(parts, len(texts), target)
    return values.cast(pa.int64()) if is_integer else values


def _mark(problems: np.ndarray, mask: np.ndarray, found: np.ndarray, rule: CellRule) -> None:
    if found.any():
        problems[np.flatnonzero(mask)[found]] = rule


def _as_moment(
    texts: pa.Array,
    cells: CellColumn,
    column: ColumnTemplate,
    problems: np.ndarray,
    *,
    is_1904: bool,
) -> pa.Array:
    kind = column.column_type.name
    is_time = kind is TypeName.TIME
    unreadable = CellRule.UNPARSABLE_TIME if is_time else CellRule.UNPARSABLE_DATE
    problems[_valid(texts, cells, Kind.BOOLEAN)] = CellRule.WRONG_KIND
    milliseconds = np.zeros(len(texts), np.int64)
    present = np.zeros(len(texts), bool)
    for kinds in ((Kind.SERIAL,), (Kind.NUMBER,), (Kind.TEXT, Kind.ISO)):
        mask = _valid(texts, cells, *kinds)
        if not mask.any():
            continue
        chosen = texts.filter(pa.array(mask))
        found = _read_moments(chosen, kinds[0], column, is_1904=is_1904)
        milliseconds[mask] = found.milliseconds
        present |= mask
        _mark(problems, mask, found.bad, unreadable)
    if kind is TypeName.DATE:
        has_time = present & (problems == 0) & (milliseconds % moments.DAY_MS != 0)
        problems[has_time] = CellRule.TIME_IN_DATE
    return _moment_array(milliseconds, present & (problems == 0), column, problems)


def _read_moments(
    texts: pa.Array, kind: Kind, column: ColumnTemplate, *, is_1904: bool
) -> moments.Moments:
    if column.column_type.name is TypeName.TIME:
        is_text = kind is Kind.TEXT
        return moments.times_from_texts(texts) if is_text else moments.durations(texts)
    if kind is Kind.SERIAL:
        return moments.from_serials(texts, is_1904=is_1904)
    # A plain number is a date only in a form that the template declares (20240930).
    also = ("auto",) if kind is Kind.TEXT else ()
    declared = [name for name in column.date_formats if name != "auto" or kind is Kind.TEXT]
    return moments.from_texts(texts, (*declared, *also))


def _moment_array(
    milliseconds: np.ndarray, good: np.ndarray, column: ColumnTemplate, problems: np.ndarray
) -> pa.Array:
    filled = np.where(good, milliseconds, 0)
    match column.column_type.name:
        case TypeName.DATE:
            days = (filled // moments.DAY_MS).astype(np.int32)
            return pa.array(days, mask=~good).cast(pa.date32())
        case TypeName.TIME:
            clock = (filled % moments.DAY_MS) * 1000
            return pa.array(clock, mask=~good).cast(pa.time64("us"))
    values = pa.array(filled * 1000, mask=~good).cast(pa.timestamp("us"))
    if not column.has_zone:
        return values
    return _with_zone(values, column.time_zone, good, problems)


def _with_zone(
    values: pa.Array, time_zone: str, good: np.ndarray, problems: np.ndarray
) -> pa.Array:
    utc = pa.timestamp("us", "UTC")
    try:
        # An hour that happens twice is the first of the two; one that never was is refused.
        return pc.assume_timezone(values, time_zone, ambiguous="earliest").cast(utc)
    except pa.ArrowInvalid:
        moved = pc.assume_timezone(
            values, time_zone, ambiguous="earliest", nonexistent="earliest"
        ).cast(utc)
        back = pc.local_timestamp(moved.cast(pa.timestamp("us", time_zone)))
        never = good & np.asarray(pc.fill_null(pc.not_equal(back, values), False))
        problems[never] = CellRule.UNPARSABLE_DATE
        return pc.if_else(pa.array(never), None, moved)
