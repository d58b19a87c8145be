import json
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings

TEMPLATE = """
[spreadsheets.templates.orders]
files = "orders*.xlsx"
table = "sales.orders"
key = "order_no"
reject_limit_ratio = 0.5

[spreadsheets.templates.orders.columns]
order_no = { header = "Order no", type = "integer", required = true }
amount = { header = "Amount", type = "decimal(12,2)" }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "batch_assets.toml").write_text(TEMPLATE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    return tmp_path


def write_book(path: Path, *rows: list[Any]) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "Data"
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.long
def test_proposed_template_accepts_the_file_it_came_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        [f"{n:05}", date(2024, 1, 1 + n % 28), n * 1.25, ("new", "paid")[n % 2]] for n in range(80)
    ]
    write_book(project / "sales_2024.xlsx", ["Order no", "Order date", "Net", "State"], *rows)

    assert run(["spreadsheets", "infer", "sales_2024.xlsx", "--table", "sales.orders"]) == 0
    proposal = capsys.readouterr().out
    Path("sales.toml").write_text(proposal)

    assert 'files = "sales_*.xlsx"' in proposal
    assert 'key = ["order_no"]' in proposal
    assert 'type = "text"  # leading zeros: 00000' in proposal
    assert 'type = "date"' in proposal
    assert 'type = "decimal(18,2)"' in proposal
    assert '# allowed = ["new", "paid"]' in proposal
    assert run(["spreadsheets", "check", "sales_2024.xlsx", "-t", "sales.toml"]) == 0


def test_check_names_what_would_be_rejected(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [[n, 1] for n in range(4)]
    write_book(project / "orders.xlsx", ["Order no", "Amount"], *good, ["x", 1], [9, 2])

    status = run(["spreadsheets", "check", "orders.xlsx", "--json"])

    assert status == 1
    captured = capsys.readouterr()
    [rejected] = json.loads(captured.out)["rejected"]
    assert (rejected["sheet"], rejected["row"]) == ("Data", 6)
    assert rejected["violations"][0]["cell"] == "A6"
    assert "6 rows, 5 good, 0 duplicate, 0 skipped, 1 rejected" in captured.err


@pytest.mark.long
def test_check_says_when_a_load_would_fail(project: Path) -> None:
    write_book(project / "orders.xlsx", ["Order no", "Amount"], ["x", 1], ["y", 1])

    assert run(["spreadsheets", "check", "orders.xlsx"]) == 3


@pytest.mark.long
def test_check_finds_keys_that_stand_there_twice(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[1, 1], [1, 2], [3, 1], [4, 1]]
    write_book(project / "orders.xlsx", ["Order no", "Amount"], *rows)

    assert run(["spreadsheets", "check", "orders.xlsx"]) == 1
    assert "2 rejected" in capsys.readouterr().err


def test_file_of_no_template_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_book(project / "prices.xlsx", ["a"], [1])

    assert run(["spreadsheets", "check", "prices.xlsx"]) == 7
    assert "fits no template, expected exactly one" in capsys.readouterr().err


def test_load_writes_the_table_and_the_ledger(
    project: Path,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    write_book(project / "orders.xlsx", ["Order no", "Amount"], [1, 1], [2, 2])

    assert run(["spreadsheets", "load", "orders.xlsx", "--day", "2024-09-30"]) == 0
    assert run(["spreadsheets", "load", "orders.xlsx", "--day", "2024-09-30", "--json"]) == 0

    first, second = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("2024-09-30/orders.xlsx  success  read 2 = 2 inserted")
    assert json.loads(second)["unchanged"] == 2
