"""Values as clients send them -> typed columns, and why a value was not typed.

Whole columns at a time. What a record is made of belongs in `parse.py`.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.devices.contract import Metric

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?$"
_ZONED = r"(Z|:\d{2}(\.\d+)?\s?[+-]\d{2}(:?\d{2})?)$"
_EPOCH = r"^\d{9,13}(\.\d{1,6})?$"
# Later than 5138 in seconds, earlier than 1973 in milliseconds.
_FIRST_MILLISECONDS = 100_000_000_000
_DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True)
class Refusals:
    """Rows of a column that could not be typed.

    Attributes:
        rule: Why.
        column: Which column.
        rows: True where the row is refused.
        expected: What is allowed, in words.
        hint: What a person does about it.
    """

    rule: str
    column: str
    rows: pa.BooleanArray
    expected: str
    hint: str


def column_of(values: list[object]) -> pa.Array:
    """A column of what JSON gave: numbers where all are numbers, else their text."""
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def text_of(values: pa.Array) -> pa.Array:
    """A name as text without blanks around it; null where it is empty."""
    text = values if pa.types.is_string(values.type) else values.cast(pa.string())
    text = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def type_metric(
    values: pa.Array, metric: Metric, *, is_week: bool = False
) -> tuple[pa.Array, list[Refusals]]:
    """Numbers of a metric, null where refused."""
    numbers, is_no_number = _numbers(values)
    refusals = [
        Refusals("not_a_number", metric.column, is_no_number, "a number", "send a plain number")
    ]
    highest = metric.highest * (_DAYS_PER_WEEK if is_week and metric.is_whole else 1)
    outside = pc.or_(pc.less(numbers, metric.lowest), pc.greater(numbers, highest))
    outside = pc.fill_null(pc.or_kleene(outside, pc.is_nan(numbers)), False)
    refusals.append(
        Refusals(
            "impossible_value",
            metric.column,
            outside,
            f"{metric.lowest:g} to {highest:g}",
            "correct the value or its unit, and send the record again",
        )
    )
    numbers = pc.if_else(outside, pa.scalar(None, pa.float64()), numbers)
    if metric.is_whole:
        broken = pc.fill_null(pc.not_equal(numbers, pc.floor(numbers)), False)
        refusals.append(
            Refusals("not_whole", metric.column, broken, "a whole number", "send a whole number")
        )
        numbers = pc.floor(numbers)
    typed = numbers.cast(metric.type) if metric.is_whole else _decimals(numbers, metric.type)
    return typed, [refusal for refusal in refusals if refusal.rows.true_count]


def _decimals(numbers: pa.Array, kind: pa.DataType) -> pa.Array:
    # By way of hundredths: 36.6 is stored as 36.60, on every version of Arrow.
    return pc.round(numbers, 2).cast(kind)


def _numbers(values: pa.Array) -> tuple[pa.Array, pa.BooleanArray]:
    if not pa.types.is_string(values.type):
        return values.cast(pa.float64(), safe=False), _none(len(values))
    text = text_of(values)
    is_number = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
    numbers = pc.if_else(is_number, text, pa.scalar(None, pa.string()))
    numbers = pc.utf8_ltrim(numbers, "+").cast(pa.float64())
    return numbers, pc.and_(pc.is_valid(text), pc.invert(is_number))


def type_moments(values: pa.Array, column: str, zone: str) -> tuple[pa.Array, list[Refusals]]:
    """Moments in UTC.

    Args:
        values: Text in ISO 8601, seconds or milliseconds since 1970, or timestamps.
        zone: Of times that name none.
    """
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
        if values.type.tz is None:
            values = _in_zone(values, zone)
        return values.cast(pa.timestamp("us", "UTC")), []
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return _epochs(values, column)
    text = text_of(values)
    is_moment = pc.fill_null(pc.match_substring_regex(text, _MOMENT), False)
    is_zoned = pc.fill_null(pc.match_substring_regex(text, _ZONED), False)
    nothing = pa.scalar(None, pa.string())
    try:
        zoned = pc.if_else(pc.and_(is_moment, is_zoned), text, nothing)
        local = pc.if_else(pc.and_(is_moment, pc.invert(is_zoned)), text, nothing)
        typed = pc.coalesce(
            zoned.cast(pa.timestamp("us", "UTC")),
            _in_zone(local.cast(pa.timestamp("us")), zone).cast(pa.timestamp("us", "UTC")),
        )
    except pa.ArrowInvalid:
        # A 30th of February among them, or a spelling that Arrow does not read.
        typed = pa.array(
            [_moment(one, zone) for one in text.to_pylist()], pa.timestamp("us", "UTC")
        )
    is_epoch = pc.fill_null(pc.match_substring_regex(text, _EPOCH), False)
    if is_epoch.true_count:
        epochs, _ = _epochs(pc.if_else(is_epoch, text, nothing).cast(pa.float64()), column)
        typed = pc.coalesce(typed, epochs)
    refused = pc.and_(pc.is_valid(text), pc.is_null(typed))
    return typed, _not_a_moment(refused, column)


def _moment(text: str | None, zone: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text and "-" in text[:5] else None
    except ValueError:
        return None
    if moment is None:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def _in_zone(local: pa.Array, zone: str) -> pa.Array:
    # The hour that comes twice is its first, as clocks show it; the hour that is missing, the next.
    return pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")


def _epochs(values: pa.Array, column: str) -> tuple[pa.Array, list[Refusals]]:
    numbers = values.cast(pa.float64(), safe=False)
    factor = pc.if_else(pc.greater_equal(pc.abs(numbers), _FIRST_MILLISECONDS), 1e3, 1e6)
    micros = pc.multiply(numbers, factor)
    # Until the year 5138, in microseconds.
    refused = pc.fill_null(pc.or_kleene(pc.is_nan(micros), pc.greater(pc.abs(micros), 1e17)), False)
    micros = pc.if_else(refused, pa.scalar(None, pa.float64()), pc.round(micros))
    typed = micros.cast(pa.int64()).cast(pa.timestamp("us", "UTC"))
    return typed, _not_a_moment(refused, column)


def _not_a_moment(refused: pa.BooleanArray, column: str) -> list[Refusals]:
    expected = "a time like 2025-01-31T08:00:00+08:00, or seconds or milliseconds since 1970"
    found = Refusals("not_a_time", column, refused, expected, "send the time with its offset")
    return [found] if refused.true_count else []


def type_days(values: pa.Array, column: str, *, is_week: bool) -> tuple[pa.Array, list[Refusals]]:
    """Dates; the Monday of their week where weeks are asked for."""
    if pa.types.is_date(values.type):
        days = values.cast(pa.date32())
        refused = _none(len(values))
    else:
        text = text_of(values)
        days = pa.array(map(_day, text.to_pylist()), pa.date32())
        refused = pc.and_(pc.is_valid(text), pc.is_null(days))
    if is_week:
        since_monday = pc.day_of_week(days).cast(pa.int32())
        days = pc.subtract(days.cast(pa.int32()), since_monday).cast(pa.date32())
    found = Refusals("not_a_date", column, refused, "a date like 2025-01-31", "send the date alone")
    return days, [found] if refused.true_count else []


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


def _none(length: int) -> pa.BooleanArray:
    return pa.array([False]).take(pa.array([0] * length, pa.int32()))
