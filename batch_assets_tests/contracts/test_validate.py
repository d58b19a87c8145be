from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from batch_assets.contracts.batch import POSITION_SCHEMA, Original, SourceBatch
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import RowRule
from batch_assets.contracts.severity import Severity
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.contracts.validate import validate_batch
from batch_assets.loading.prepare import belonging_rules
from batch_assets_tests.loading.synthetic import CONTRACT, DAY, Row, days, to_batch

NUL = "nul_character"


def test_rows_that_keep_every_rule_are_passed_on_untouched() -> None:
    batch = to_batch([("A", "1", None), ("B", "0", "")], DAY)

    validated = validate_batch(batch, CONTRACT)

    assert validated.rows is batch.rows
    assert validated.rejected == ()
    assert validated.broken_counts == {}


def test_a_row_is_rejected_once_with_every_rule_it_broke_the_first_naming_the_reason() -> None:
    batch = to_batch([("A\x00", "-1", None), ("B", "2", None)], DAY)

    validated = validate_batch(batch, CONTRACT)

    [row] = validated.rejected
    assert [(v.rule, v.column) for v in row.violations] == [
        (NUL, "symbol"),
        ("negative_value", "price"),
    ]
    assert (row.file, row.row, row.window_value) == ("2024-09-30.csv", 1, DAY)
    assert row.original == {"symbol": "A\x00", "price": "-1", "note": None}
    assert validated.rows.column("symbol").to_pylist() == ["B"]
    assert validated.positions.column("row").to_pylist() == [2]


def test_a_warning_is_counted_and_its_row_is_kept() -> None:
    dear = RowRule(
        name="dear",
        columns=("price",),
        broken=lambda rows: pc.greater(rows.column("price"), pa.scalar(Decimal(5))),
        expected="at most 5",
        severity=Severity.WARN,
    )

    validated = validate_batch(to_batch([("A", "9", None)], DAY), CONTRACT, [dear])

    assert validated.rows.num_rows == 1
    assert validated.broken_counts == {"dear": 1}
    assert validated.rejected == ()


def test_a_rule_that_cannot_judge_a_row_keeps_it() -> None:
    unsure = RowRule(
        name="unsure",
        columns=("note",),
        broken=lambda rows: pc.equal(rows.column("note"), "x"),
        expected="anything but x",
    )

    validated = validate_batch(
        to_batch([("A", "1", None), ("B", "1", "x")], DAY), CONTRACT, [unsure]
    )

    assert validated.rows.column("symbol").to_pylist() == ["A"]


def test_originals_are_asked_for_once_and_for_broken_rows_only() -> None:
    asked: list[Sequence[int]] = []
    batch = to_batch([("A", "1", None), ("B", "-1", None), ("C", "-2", None)], DAY)

    def originals(indices: Sequence[int]) -> list[Original]:
        asked.append(list(indices))
        return batch.originals(indices)

    validated = validate_batch(
        type(batch)(batch.read_rows, batch.rows, batch.positions, originals), CONTRACT
    )

    assert asked == [[1, 2]]
    assert [row.original["symbol"] for row in validated.rejected] == ["B", "C"]


@pytest.mark.parametrize(
    ("day", "source", "rule"),
    [(days(2)[1], "test", "outside_window"), (DAY, "other", "outside_scope")],
)
def test_rows_of_another_window_or_scope_are_rejected(day: date, source: str, rule: str) -> None:
    rows: list[Row] = [("A", "1", None)]
    rules = belonging_rules(CONTRACT, Scope((("source", source),)), Window.of_day(DAY))

    validated = validate_batch(to_batch(rows, day), CONTRACT, rules)

    assert [row.violations[0].rule for row in validated.rejected] == [rule]


def test_rejects_of_the_source_come_before_those_of_the_rules() -> None:
    validated = validate_batch(to_batch([("A", "-1", None), ("B", "?", None)], DAY), CONTRACT)

    assert [row.violations[0].rule for row in validated.rejected] == [
        "unparsable_number",
        "negative_value",
    ]


BEYOND = {
    "after 9999": (2932897, "10000-01-01"),
    "before year 1": (-719163, "0000-12-31"),
    "before 4713 BC": (-3_000_000, "-6244-"),
    "the largest number": (2**31 - 1, "<value out of range: 2147483647>"),
}


@pytest.mark.parametrize(("day_number", "shown"), BEYOND.values(), ids=BEYOND)
def test_date_that_nothing_can_hold_rejects_its_row_alone(day_number: int, shown: str) -> None:
    contract = TableContract(
        target="market.daily_bars",
        columns=pa.schema([("symbol", pa.string()), ("day", pa.date32())]),
        key=("symbol", "day"),
        window_column="day",
        disposition=Disposition.MERGE,
    )
    numbers = pa.array([19996, day_number, None], pa.int32())
    rows = pa.record_batch({"symbol": ["A", "B", "C"], "day": numbers.cast(pa.date32())})
    batch = batch_of(rows)

    validated = validate_batch(batch, contract)

    [row] = validated.rejected
    [violation] = row.violations
    assert (violation.rule, violation.column) == ("date_out_of_range", "day")
    assert (violation.observed or "").startswith(shown)
    assert violation.expected == "a date from 0001-01-01 to 9999-12-31"
    assert (row.row, row.window_value) == (2, None)
    assert validated.rows.column("symbol").to_pylist() == ["A", "C"]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_instant_beyond_the_year_9999_rejects_its_row(unit: str) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6}[unit]
    contract = TableContract(
        target="devices.reports",
        columns=pa.schema([("at", pa.timestamp(unit, "UTC"))]),
        key=("at",),
        disposition=Disposition.APPEND,
    )
    seconds = [0, 253402300799, 253402300800, -62135596801]
    rows = pa.record_batch(
        {
            "at": pa.array([s * per_second for s in seconds], pa.int64()).cast(
                contract.columns[0].type
            )
        }
    )

    validated = validate_batch(batch_of(rows), contract)

    assert [row.row for row in validated.rejected] == [3, 4]
    assert validated.rows.num_rows == 2


def batch_of(rows: pa.RecordBatch) -> SourceBatch:
    numbers = pa.array(range(1, rows.num_rows + 1), pa.int64())
    files = pa.repeat(pa.scalar("f"), rows.num_rows).dictionary_encode()
    return SourceBatch(
        read_rows=rows.num_rows,
        rows=rows,
        positions=pa.RecordBatch.from_arrays([files, numbers], schema=POSITION_SCHEMA),
        originals=lambda indices: [{} for _ in indices],
    )
