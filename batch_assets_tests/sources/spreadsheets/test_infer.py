from pathlib import Path
from typing import Any

import openpyxl
import pytest

from batch_assets.errors import UnreadableSource
from batch_assets.sources.spreadsheets.infer import infer_template
from batch_assets.sources.spreadsheets.render import render_toml
from batch_assets.sources.spreadsheets.template import read_template


def write(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def test_proposal_can_be_read_as_a_template(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.xlsx",
        ["Monthly list"],
        ["No", "Name", "Code", "Price"],
        *([n, f"name {n}", f"{n:04}", n + 0.5] for n in range(1, 30)),
    )

    proposal = infer_template(file)
    (tmp_path / "a.toml").write_text(render_toml(proposal, "prices", "shop.prices"))
    template = read_template(tmp_path / "a.toml")

    assert (proposal.header_row, proposal.key, proposal.notes) == (2, ("no",), ())
    assert {column.name: column.type for column in template.columns} == {
        "no": "integer",
        "name": "text",
        "code": "text",
        "price": "decimal(18,2)",
    }


def test_columns_with_one_header_are_left_out_with_a_word(tmp_path: Path) -> None:
    file = write(tmp_path / "a.xlsx", ["No", "Price", "Price"], [1, 2, 3], [2, 2, 4])

    text = render_toml(infer_template(file), "prices", "shop.prices")

    assert "# left out: 'Price' is the header of 2 columns; rename them in the file" in text
    assert "price =" not in text


def test_sheet_with_one_header_for_all_columns_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.xlsx", ["Price", "Price"], [2, 3])

    with pytest.raises(UnreadableSource, match="every header stands in several columns"):
        infer_template(file)
