from typing import Any

import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.header import Line, find_header, name_columns
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, build_template

COLUMNS: dict[str, Any] = {
    "order_no": {"header": ["Order No.", "订单号"], "required": True},
    "net": {"header": ["Net amount"], "type": "decimal(12,2)", "unit": "千元"},
    "note": "text",
}


def template(columns: dict[str, Any] = COLUMNS, **settings: Any) -> SpreadsheetTemplate:
    body = {"table": "a.b", "disposition": "append", "columns": columns, **settings}
    return build_template("orders", body)


def lines(*rows: list[str], first: int = 1) -> list[Line]:
    return [
        (number, {place: text for place, text in enumerate(row) if text})
        for number, row in enumerate(rows, first)
    ]


def test_header_is_found_below_titles() -> None:
    found = find_header(
        lines(["Sales report"], ["printed", "today"], ["Order No.", "Net amount", "note"], ["1"]),
        template(),
        "a.xlsx",
    )

    assert (found.first_row, found.last_row) == (3, 3)
    assert found.places == {"order_no": 0, "net": 1, "note": 2}


@pytest.mark.parametrize(
    "spelling",
    [
        "ORDER NO.",
        "order\nno.",
        " Order  No. *",
        "Ｏｒｄｅｒ Ｎｏ．",
        "订单号",
        "订单号：",
        "订 单 号",
    ],
)
def test_spelling_of_a_header_does_not_matter(spelling: str) -> None:
    found = find_header(lines([spelling, "Note"]), template(), "a.xlsx")

    assert found.places == {"order_no": 0, "note": 1}


def test_unit_may_stand_in_the_header() -> None:
    found = find_header(lines(["订单号", "Net Amount（千元）"]), template(), "a.xlsx")

    assert found.places["net"] == 1
    with_other_unit = find_header(lines(["订单号", "Net Amount (kg)"]), template(), "a.xlsx")
    assert "net" not in with_other_unit.places


def test_header_of_two_lines_is_joined() -> None:
    columns = {
        "order_no": {"header": "Order no", "required": True},
        "q1_sales": {"header": "Q1 Sales", "required": True},
        "q1_cost": {"header": "Q1 Cost", "required": True},
        "q2_sales": {"header": "Q2 Sales", "required": True},
    }
    given = lines(
        ["Report"], ["Order no", "Q1", "", "Q2"], ["", "Sales", "Cost", "Sales"], ["7", "1", "2"]
    )

    found = find_header(given, template(columns), "a.xlsx")

    assert (found.first_row, found.last_row) == (2, 3)
    assert found.places == {"order_no": 0, "q1_sales": 1, "q1_cost": 2, "q2_sales": 3}


def test_one_line_is_enough_where_it_has_all_names() -> None:
    given = lines(["Order No.", "Net amount", "note"], ["note", "1", "x"])

    assert find_header(given, template(), "a.xlsx").last_row == 1


def test_missing_column_is_named_with_what_the_file_has() -> None:
    with pytest.raises(UnreadableSource) as raised:
        find_header(lines(["Title"], ["Net amount", "note", "city"]), template(), "a.xlsx")

    assert str(raised.value) == (
        "a.xlsx: no header has order_no (Order No. or 订单号); the row that comes nearest is 2: "
        "Net amount, note, city. Correct the file, or add the name to `header` of the column in "
        "template orders"
    )


def test_name_over_two_columns_is_refused() -> None:
    with pytest.raises(UnreadableSource, match="'note' stands over B and C, expected one column"):
        find_header(lines(["Order No.", "note", "note"]), template(), "a.xlsx")


def test_repeated_name_that_nobody_asked_for_is_allowed() -> None:
    found = find_header(lines(["Order No.", "x", "x"]), template(), "a.xlsx")

    assert found.unknown() == {1: "x", 2: "x"}
    assert found.name_of(2) == "x (C)"


def test_empty_sheet_is_refused() -> None:
    with pytest.raises(UnreadableSource, match="is empty, expected a header"):
        find_header([], template(), "a.xlsx")


def test_columns_are_named_after_headers() -> None:
    named = name_columns(["Net Amount (€)", "备注 1", "2nd", "id", "***", "net amount"], {"id"})

    assert named == {
        "net_amount": "Net Amount (€)",
        "备注_1": "备注 1",
        "c_2nd": "2nd",
        "id_2": "id",
        "column": "***",
        "net_amount_2": "net amount",
    }
