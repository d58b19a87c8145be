"""Raw columns of one kind of record -> typed rows, and dead letters for the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import Original, RejectedRow, Violation
from batch_assets.contracts.table import TableContract
from batch_assets.contracts.validate import date_rules, text_rules
from batch_assets.sources.devices.contract import DAILY, METRICS, RECORDS, WEEKLY
from batch_assets.sources.devices.typed import (
    Refusals,
    text_of,
    type_days,
    type_metric,
    type_moments,
)


class RecordKind(StrEnum):
    """Which table a row belongs to."""

    RECORDS = "records"
    DAILY = "daily"
    WEEKLY = "weekly"


CONTRACTS: Mapping[RecordKind, TableContract] = {
    RecordKind.RECORDS: RECORDS,
    RecordKind.DAILY: DAILY,
    RecordKind.WEEKLY: WEEKLY,
}
MOMENT_NAMES: Mapping[RecordKind, tuple[str, ...]] = {
    RecordKind.RECORDS: ("measured_at", "timestamp", "measuredAt", "upload_time", "time"),
    RecordKind.DAILY: ("day", "date", "record_date"),
    RecordKind.WEEKLY: ("week", "week_start", "week_start_date"),
}
# What jsonb refuses, while JSON does not; a backslash before it may be an escaped one.
_NUL_ESCAPE = r"(^|[^\\])(\\\\)*\\u0000"
DEVICE_NAMES = ("device_sn", "deviceSn", "deviceSN", "sn")


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of one kind as they were sent; all columns have the same length.

    Attributes:
        device_sn: Serial numbers.
        moment: When or which day.
        metrics: By column name of the contract; absent where nobody sent it.
        extra: JSON text of what the contract does not know; null where there is nothing.
        row_number: 1-based row of the file.
        original: The values of one row by its index, as sent.
    """

    kind: RecordKind
    device_sn: pa.Array
    moment: pa.Array
    metrics: Mapping[str, pa.Array]
    extra: pa.Array
    row_number: pa.Array
    original: Callable[[int], Original]


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Rows to be written: the contract's columns, `extra` and `row_number`; and the others."""

    rows: pa.RecordBatch
    rejected: tuple[RejectedRow, ...] = ()


def staged_schema(contract: TableContract) -> pa.Schema:
    """Columns of rows on their way into a table of devices."""
    return contract.columns.append(pa.field("extra", pa.string())).append(
        pa.field("row_number", pa.int64())
    )


def type_rows(raw: RawRows, file: str, zone: str) -> TypedRows:
    """Type every column; a row with a value that cannot be typed is rejected once, as a whole."""
    contract = CONTRACTS[raw.kind]
    is_week = raw.kind is RecordKind.WEEKLY
    moment_name = contract.columns.names[1]
    if raw.kind is RecordKind.RECORDS:
        moment, refusals = type_moments(raw.moment, moment_name, zone)
    else:
        moment, refusals = type_days(raw.moment, moment_name, is_week=is_week)
    columns = [text_of(raw.device_sn), moment]
    sent = {"device_sn": raw.device_sn, moment_name: raw.moment, **raw.metrics}
    for metric in METRICS:
        values = raw.metrics.get(metric.column)
        if values is None:
            columns.append(pa.nulls(len(moment), metric.type))
            continue
        typed, more = type_metric(values, metric, is_week=is_week)
        columns.append(typed)
        refusals += more
    rows = pa.record_batch(
        [*columns, raw.extra.cast(pa.string()), raw.row_number], schema=staged_schema(contract)
    )
    refusals += _broken_rules(contract, rows, refusals)
    return _split(raw, rows, refusals, sent, file)


def _broken_rules(
    contract: TableContract, rows: pa.RecordBatch, earlier: Sequence[Refusals]
) -> list[Refusals]:
    found = []
    unstorable = pc.fill_null(pc.match_substring_regex(rows.column("extra"), _NUL_ESCAPE), False)
    if unstorable.true_count:
        hint = "remove the character with code 0 from the source"
        found.append(Refusals("nul_character", "extra", unstorable, "text without NUL", hint))
    for rule in (*text_rules(rows.schema), *date_rules(rows.schema), *contract.rules):
        broken = pc.fill_null(rule.broken(rows), False)
        for refusal in earlier:
            # A value that could not be typed is not missing too.
            if refusal.column == rule.columns[0]:
                broken = pc.and_not(broken, refusal.rows)
        if broken.true_count:
            found.append(Refusals(rule.name, rule.columns[0], broken, rule.expected, rule.hint))
    return found


def _split(
    raw: RawRows,
    rows: pa.RecordBatch,
    refusals: Sequence[Refusals],
    sent: Mapping[str, pa.Array],
    file: str,
) -> TypedRows:
    if not refusals:
        return TypedRows(rows)
    bad = refusals[0].rows
    for refusal in refusals[1:]:
        bad = pc.or_(bad, refusal.rows)
    rejected = []
    for index in pc.indices_nonzero(bad).to_pylist():
        violations = tuple(
            Violation(
                refusal.rule,
                refusal.column,
                _shown(sent.get(refusal.column), index),
                refusal.expected,
                refusal.hint,
            )
            for refusal in refusals
            if refusal.rows[index].as_py()
        )
        number = raw.row_number[index].as_py()
        rejected.append(RejectedRow(file, number, violations, raw.original(index)))
    return TypedRows(rows.filter(pc.invert(bad)), tuple(rejected))


def _shown(values: pa.Array | None, index: int) -> str | None:
    if values is None or not values[index].is_valid:
        return None
    return str(values[index].cast(pa.string()))
