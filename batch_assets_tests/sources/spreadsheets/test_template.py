from pathlib import Path
from typing import Any

import pytest

from batch_assets.contracts.disposition import Disposition
from batch_assets.errors import ConfigurationError
from batch_assets.sources.spreadsheets.contract import template_contract
from batch_assets.sources.spreadsheets.template import build_template, build_templates

BODY: dict[str, Any] = {
    "table": "sales.orders",
    "key": "id",
    "columns": {"id": "integer", "amount": {"type": "decimal(12,2)", "min": 0}},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "orders"}, "has no schema"),
        ({"table": "ops.loads"}, "belongs to the system"),
        ({"table": "sales.Orders"}, "has capitals"),
        ({"table": 'sales."x; drop table y'}, "cannot name a column or table"),
        ({"key": "no"}, "key names no, expected some of id, amount"),
        ({"key": ()}, "disposition merge needs a key"),
        ({"columns": {}}, "columns"),
        ({"columns": {"load_id": "text"}}, "filled by the load itself"),
        ({"columns": {"a b": "text"}}, "cannot name a column"),
        ({"columns": {"id": "money"}}, "type 'money' is not known"),
        ({"columns": {"id": "decimal(50,2)"}}, "1 to 38 digits"),
        ({"columns": {"id": "integer(4)"}}, "expected plain integer"),
        ({"columns": {"id": {"pattern": "("}}}, "not a regular expression"),
        ({"columns": {"id": {"min": 1}}}, "range of numbers was given, but the type is text"),
        ({"columns": {"id": {"type": "date", "date_formats": ["d/m"]}}}, "date format 'd/m'"),
        ({"columns": {"id": {"time_zone": "Mars"}}}, "not an IANA name"),
        ({"shet": 1}, "shet"),
    ],
)
def test_wrong_template_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[spreadsheets.templates.orders\]") as raised:
        build_template("orders", {**BODY, **change})

    assert message in str(raised.value)


def test_templates_come_from_the_section_or_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "forms").mkdir()
    (tmp_path / "forms" / "orders.toml").write_text(
        'table = "sales.orders"\nkey = "id"\n[columns]\nid = "integer"\n'
        'amount = { type = "decimal(12,2)", min = 0 }\n'
    )

    inline = build_templates({"templates": {"orders": BODY}}, tmp_path)
    foldered = build_templates({"templates": "forms"}, tmp_path)

    assert inline == foldered
    with pytest.raises(ConfigurationError, match="is no folder"):
        build_templates({"templates": "nowhere"}, tmp_path)


def test_file_that_is_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("table = ")

    with pytest.raises(ConfigurationError, match=r"bad.toml cannot be read"):
        build_templates({"templates": "."}, tmp_path)


def test_contract_has_columns_of_the_template_and_of_the_place() -> None:
    contract = template_contract(build_template("orders", BODY))

    assert contract.columns.names == [
        "id",
        "amount",
        "arrival_date",
        "source_file",
        "source_sheet",
        "source_row",
    ]
    assert contract.key == ("id",)
    assert contract.shares_target
    assert contract.compared_columns == ("amount",)


def test_replacing_template_holds_every_day_on_its_own() -> None:
    contract = template_contract(build_template("orders", {**BODY, "disposition": "replace"}))

    assert contract.key == ("arrival_date", "id")
    assert contract.window_column == "arrival_date"
    assert not contract.shares_target


def test_rows_without_a_key_are_told_apart_by_their_place() -> None:
    body = {**BODY, "key": (), "disposition": "append"}

    contract = template_contract(build_template("orders", body))

    assert contract.disposition is Disposition.APPEND
    assert contract.key == ("arrival_date", "source_file", "source_sheet", "source_row")


def test_what_changes_rows_changes_the_version_and_nothing_else_does() -> None:
    version = build_template("orders", BODY).fingerprint

    assert build_template("orders", {**BODY, "files": "x*"}).fingerprint == version
    assert build_template("orders", {**BODY, "sheet": 2}).fingerprint != version


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [(1, ["A"]), (2, ["B 2"]), ("b 2", ["B 2"]), ("*", ["A", "B 2"]), ("b*", ["B 2"]), ("c", [])],
)
def test_sheets_are_chosen_by_place_name_or_pattern(wanted: Any, taken: list[str]) -> None:
    template = build_template("orders", {**BODY, "sheet": wanted})

    assert [n for i, n in enumerate(["A", "B 2"], 1) if template.takes_sheet(n, i)] == taken
