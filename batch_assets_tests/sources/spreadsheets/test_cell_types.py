from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batch_assets.sources.spreadsheets.cell_limits import check_limits
from batch_assets.sources.spreadsheets.cell_rules import CellRule, expected_of, hint_of
from batch_assets.sources.spreadsheets.cell_types import type_column
from batch_assets.sources.spreadsheets.cells import CellColumn, Kind
from batch_assets.sources.spreadsheets.template import ColumnTemplate


def typed(
    declared: str, text: str | None, kind: Kind = Kind.TEXT, **settings: Any
) -> tuple[Any, CellRule]:
    """Value and rule of one cell, which must not depend on the cells around it."""
    column = ColumnTemplate(name="c", type=declared, **settings)
    results = []
    for before in ([], [("1", Kind.NUMBER), ("x y", Kind.TEXT), (None, Kind.EMPTY)]):
        cells = [*before, (text, kind)]
        given = CellColumn(
            pa.array([t for t, _ in cells], pa.string()), np.array([k for _, k in cells], np.uint8)
        )
        found = type_column(given, column, is_1904=False)
        check_limits(found, column, is_key=False)
        results.append((found.values[-1].as_py(), CellRule(found.problems[-1])))
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", "1234.50"),
        ("１２３", "123.00"),
        ("(1,234)", "-1234.00"),
        ("12%", "0.12"),
        ("1 234,5", None),
        ("1 234.5", "1234.50"),
        ("1'234.50", "1234.50"),
        ("1\u00a0234.50", "1234.50"),
        ("12,34,567.00", "1234567.00"),
        ("¥1,000", "1000.00"),
        ("-$5.25", "-5.25"),
        ("99.90 USD", "99.90"),
        ("100元", "100.00"),
        ("123-", "-123.00"),
        ("−7", "-7.00"),
        ("+8", "8.00"),
        ("1.5e3", "1500.00"),
        ("'42", "42.00"),
        ("1,23", None),
        ("1.234,50", None),
        ("12 pieces", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("--5", None),
        ("1.2.3", None),
    ],
)
def test_written_numbers_are_read_or_refused(text: str, expected: str | None) -> None:
    value, rule = typed("decimal(12,2)", text)

    assert (None if value is None else str(value)) == expected
    assert rule is (CellRule.NONE if expected else CellRule.UNPARSABLE_NUMBER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.234,50", "1234.50"),
        ("1.234", "1234.00"),
        ("1234,5", "1234.50"),
        ("12.5", None),
        ("1 234,50", "1234.50"),
        ("1.234.567", "1234567.00"),
    ],
)
def test_decimal_comma_is_read_where_declared(text: str, expected: str | None) -> None:
    value, rule = typed("decimal(12,2)", text, decimal_comma=True)

    assert (None if value is None else str(value)) == expected
    assert rule is (CellRule.NONE if expected else CellRule.UNPARSABLE_NUMBER)


@pytest.mark.parametrize(
    ("declared", "text", "kind", "expected"),
    [
        ("decimal(12,2)", "8785.2600000000002", Kind.NUMBER, Decimal("8785.26")),
        ("decimal(12,2)", "0.30000000000000004", Kind.NUMBER, Decimal("0.30")),
        ("decimal(12,2)", "1E-2", Kind.NUMBER, Decimal("0.01")),
        ("integer", "42", Kind.NUMBER, 42),
        ("integer", "42.0", Kind.NUMBER, 42),
        ("integer", "1e3", Kind.NUMBER, 1000),
        ("integer", "123456789012345678", Kind.TEXT, 123456789012345678),
        ("percent", "0.125", Kind.NUMBER, Decimal("0.125000")),
        ("percent", "12.5 %", Kind.TEXT, Decimal("0.125000")),
        ("text", "42", Kind.NUMBER, "42"),
        ("text", "1E3", Kind.NUMBER, "1000"),
        ("text", "007", Kind.TEXT, "007"),
        ("text", " a\nb ", Kind.TEXT, "a\nb"),
        ("text", "1", Kind.BOOLEAN, "TRUE"),
        ("text", "45565.5", Kind.SERIAL, "2024-09-30 12:00:00"),
        ("boolean", "0", Kind.BOOLEAN, False),
        ("boolean", "Yes", Kind.TEXT, True),
        ("boolean", "否", Kind.TEXT, False),
        ("boolean", "1", Kind.NUMBER, True),
        ("date", "45565", Kind.SERIAL, date(2024, 9, 30)),
        ("date", "59", Kind.SERIAL, date(1900, 2, 28)),
        ("date", "61", Kind.SERIAL, date(1900, 3, 1)),
        ("date", "2024/9/3", Kind.TEXT, date(2024, 9, 3)),
        ("date", "2024年9月3日", Kind.TEXT, date(2024, 9, 3)),
        ("date", "2024-09-30T00:00:00", Kind.ISO, date(2024, 9, 30)),
        ("timestamp", "45565.25", Kind.SERIAL, datetime(2024, 9, 30, 6)),  # noqa: DTZ001
        ("timestamp", "2024-09-30 1:05 PM", Kind.TEXT, datetime(2024, 9, 30, 13, 5)),  # noqa: DTZ001
        ("timestamp", "2024-09-30", Kind.TEXT, datetime(2024, 9, 30)),  # noqa: DTZ001
        ("time", "0.5", Kind.SERIAL, time(12)),
        ("time", "13:05:07", Kind.TEXT, time(13, 5, 7)),
        ("time", "12:00 AM", Kind.TEXT, time(0)),
        ("date", "-", Kind.TEXT, None),
        ("integer", "  ", Kind.TEXT, None),
    ],
)
def test_cell_means_what_its_column_declares(
    declared: str, text: str, kind: Kind, expected: Any
) -> None:
    assert typed(declared, text, kind) == (expected, CellRule.NONE)


@pytest.mark.parametrize(
    ("declared", "text", "kind", "rule"),
    [
        ("text", "#N/A", Kind.ERROR, CellRule.ERROR_CELL),
        ("integer", "#REF!", Kind.ERROR, CellRule.ERROR_CELL),
        ("integer", None, Kind.UNCALCULATED, CellRule.FORMULA_WITHOUT_VALUE),
        ("text", "a\x00b", Kind.TEXT, CellRule.NUL_CHARACTER),
        ("integer", "42.5", Kind.NUMBER, CellRule.NOT_AN_INTEGER),
        ("integer", "1234567890123456789", Kind.TEXT, CellRule.NUMBER_TOO_LARGE),
        ("decimal(5,2)", "1.005", Kind.NUMBER, CellRule.TOO_MANY_DECIMALS),
        ("decimal(5,2)", "1000", Kind.NUMBER, CellRule.NUMBER_TOO_LARGE),
        ("decimal(5,2)", "1", Kind.BOOLEAN, CellRule.WRONG_KIND),
        ("decimal(5,2)", "45565", Kind.SERIAL, CellRule.WRONG_KIND),
        ("date", "45565.5", Kind.SERIAL, CellRule.TIME_IN_DATE),
        ("date", "2024-09-30 08:00", Kind.TEXT, CellRule.TIME_IN_DATE),
        ("date", "60", Kind.SERIAL, CellRule.UNPARSABLE_DATE),
        ("date", "-1", Kind.SERIAL, CellRule.UNPARSABLE_DATE),
        ("date", "3000000", Kind.SERIAL, CellRule.UNPARSABLE_DATE),
        ("date", "45565", Kind.NUMBER, CellRule.UNPARSABLE_DATE),
        ("date", "2024-02-30", Kind.TEXT, CellRule.UNPARSABLE_DATE),
        ("date", "03/04/2024", Kind.TEXT, CellRule.UNPARSABLE_DATE),
        ("date", "soon", Kind.TEXT, CellRule.UNPARSABLE_DATE),
        ("timestamp", "2024-09-30 25:00", Kind.TEXT, CellRule.UNPARSABLE_DATE),
        ("timestamp", "2024-09-30 10:00+08:00", Kind.TEXT, CellRule.UNPARSABLE_DATE),
        ("time", "1.5", Kind.SERIAL, CellRule.UNPARSABLE_TIME),
        ("time", "25:00", Kind.TEXT, CellRule.UNPARSABLE_TIME),
        ("time", "noon", Kind.TEXT, CellRule.UNPARSABLE_TIME),
        ("boolean", "maybe", Kind.TEXT, CellRule.UNPARSABLE_BOOLEAN),
        ("boolean", "2", Kind.NUMBER, CellRule.UNPARSABLE_BOOLEAN),
    ],
)
def test_cell_that_means_nothing_is_refused(
    declared: str, text: str | None, kind: Kind, rule: CellRule
) -> None:
    assert typed(declared, text, kind) == (None, rule)


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({"date_formats": ["%d.%m.%Y"]}, "3.4.2024", date(2024, 4, 3)),
        ({"date_formats": ["%m/%d/%Y"]}, "03/04/2024", date(2024, 3, 4)),
        ({"date_formats": ["roc"]}, "113/09/30", date(2024, 9, 30)),
    ],
)
def test_declared_date_format_decides(settings: dict[str, Any], text: str, expected: date) -> None:
    assert typed("date", text, **settings) == (expected, CellRule.NONE)


def test_number_is_a_date_in_a_declared_form_alone() -> None:
    declared = {"date_formats": ["YYYYMMDD"]}

    assert typed("date", "20240930", Kind.NUMBER, **declared) == (date(2024, 9, 30), CellRule.NONE)
    assert typed("date", "45565", Kind.NUMBER, date_formats=["excel_serial"]) == (
        date(2024, 9, 30),
        CellRule.NONE,
    )


def test_timestamp_with_a_zone_is_an_instant() -> None:
    value, rule = typed("timestamp", "2024-09-30 08:00", time_zone="Asia/Shanghai")

    assert rule is CellRule.NONE
    assert value.isoformat() == "2024-09-30T00:00:00+00:00"


def test_hour_that_never_was_is_refused() -> None:
    zone = {"time_zone": "America/New_York"}

    assert typed("timestamp", "2024-03-10 02:30", **zone) == (None, CellRule.UNPARSABLE_DATE)


def test_rounding_happens_where_declared() -> None:
    declared = {"round": True}

    assert typed("decimal(5,2)", "1.005", Kind.NUMBER, **declared)[0] == Decimal("1.00")
    assert typed("integer", "42.5", Kind.NUMBER, **declared)[0] == 42


def test_unit_may_follow_the_number() -> None:
    assert typed("decimal(6,1)", "12.5 KG", unit="kg") == (Decimal("12.5"), CellRule.NONE)
    assert typed("decimal(6,1)", "12.5 lb", unit="kg")[1] is CellRule.UNPARSABLE_NUMBER


@pytest.mark.parametrize(
    ("declared", "settings", "text", "rule"),
    [
        ("text", {"required": True}, None, CellRule.MISSING_VALUE),
        ("text", {"required": True}, "-", CellRule.MISSING_VALUE),
        ("text", {"allowed": ["a", "b"]}, "c", CellRule.VALUE_NOT_ALLOWED),
        ("integer", {"allowed": ["1", "2"]}, "3", CellRule.VALUE_NOT_ALLOWED),
        ("text", {"pattern": "[A-Z]{2}\\d+"}, "AB12x", CellRule.PATTERN_MISMATCH),
        ("integer", {"min": 1}, "0", CellRule.BELOW_MINIMUM),
        ("decimal(8,2)", {"max": 9.5}, "9.51", CellRule.ABOVE_MAXIMUM),
        ("date", {"min": date(2024, 1, 1)}, "2023-12-31", CellRule.BELOW_MINIMUM),
        ("timestamp", {"max": date(2024, 1, 1)}, "2024-01-02 00:00", CellRule.ABOVE_MAXIMUM),
    ],
)
def test_demand_of_a_column_is_checked(
    declared: str, settings: dict[str, Any], text: str | None, rule: CellRule
) -> None:
    found = typed(declared, text, Kind.TEXT if text else Kind.EMPTY, **settings)[1]

    assert found is rule
    column = ColumnTemplate(name="c", type=declared, **settings)
    assert expected_of(found, column)
    assert hint_of(found)


@pytest.mark.parametrize(
    ("declared", "settings", "text"),
    [
        ("text", {"allowed": ["a", "b"]}, "a"),
        ("text", {"allowed": ["a"]}, None),
        ("text", {"pattern": "[A-Z]{2}\\d+"}, "AB12"),
        ("integer", {"min": 1, "max": 1}, "1"),
        ("date", {"min": date(2024, 1, 1)}, "2024-01-01"),
    ],
)
def test_value_within_its_limits_is_kept(
    declared: str, settings: dict[str, Any], text: str | None
) -> None:
    kind = Kind.TEXT if text else Kind.EMPTY

    assert typed(declared, text, kind, **settings)[1] is CellRule.NONE
