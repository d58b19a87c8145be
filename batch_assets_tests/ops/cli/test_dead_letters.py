import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets.settings import current_settings
from batch_assets_tests.ingest.spreadsheets.loop import edit

SECTION = """
[execution]
cpu_workers = 1
spare_workers = 0

[spreadsheets]
inbox = "inbox"
settle_seconds = 0

[spreadsheets.templates.orders]
files = "orders*.xlsx"
table = "sales.orders"
key = "order_no"
reject_limit_ratio = 0.9

[spreadsheets.templates.orders.columns]
order_no = { header = "Order no", type = "integer", required = true }
note = { header = "Note" }
amount = { header = "Amount", type = "decimal(12,2)" }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Path:
    (tmp_path / "batch_assets.toml").write_text(SECTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    return tmp_path


def load(project: Path, *rows: list[Any]) -> Path:
    """Load rows; returns the error workbook."""
    book = openpyxl.Workbook()
    for row in (["Order no", "Note", "Amount"], *rows):
        book.active.append(row)
    book.save(project / "orders.xlsx")
    run(["spreadsheets", "load", "orders.xlsx", "--day", "2024-09-30"])
    [errors] = (project / "home" / "spreadsheets" / "errors").rglob("*.xlsx")
    return errors


def letters(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT row_number, state, answered_by, resolution FROM ops.dead_letters ORDER BY 1"
        ).fetchall()


def write_market_letter(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(
            "INSERT INTO ops.dead_letters (fingerprint, load_id, target, scope, window_key, "
            "source_file, row_number, rule, violations, original) VALUES ('f', 1, "
            "'market.daily_bars', 'examples', '2024-09-30', 'd.csv', 9, 'unparsable_number', "
            """'[{"rule": "unparsable_number", "column": "close", "observed": "Z", """
            """"expected": "a number", "hint": "correct it", "cell": ""}]', '{"close": "=Z"}')"""
        )


@pytest.mark.long
def test_loop_by_commands(project: Path, postgres: str, capsys: pytest.CaptureFixture[str]) -> None:
    errors = load(project, [1, "a", 5], [2, "b", "x"], [3, "c", "y"], [4, "d", "z"])
    assert f"rejected rows to correct: {errors}" in capsys.readouterr().err
    assert run(["dead-letters", "list", "--target", "sales"]) == 1
    assert "3 dead letters, 3 unparsable_number" in capsys.readouterr().err

    fixed = edit(errors, (1, "Amount", 6), (2, "Amount", "7"), (3, "_action", "drop"))

    assert run(["dead-letters", "replay", str(fixed), "--by", "ann"]) == 0
    out = capsys.readouterr().out
    assert "2 loaded, 1 dropped, 0 still wrong, 0 answered before" in out
    assert (
        "read 4 = 2 inserted + 0 updated + 1 unchanged + 0 duplicate + 0 rejected + 1 skipped"
        in out
    )
    assert run(["dead-letters", "replay", str(fixed)]) == 0
    assert "0 loaded, 0 dropped, 0 still wrong, 3 answered before" in capsys.readouterr().out
    assert run(["dead-letters", "list"]) == 0


@pytest.mark.long
def test_exported_csv_is_safe_and_can_be_replayed(project: Path, postgres: str) -> None:
    load(project, [1, "a", 5], [2, "'=1+1", "x"], [3, "+x", "y"])

    assert run(["dead-letters", "export", "open.csv", "--target", "sales.orders"]) == 0

    text = Path("open.csv").read_text(encoding="utf-8-sig")
    assert "'+x" in text
    Path("open.csv").write_text(text.replace(",y", ",7").replace(",x", ",6"), "utf-8-sig")
    assert run(["dead-letters", "replay", "open.csv"]) == 0
    with psycopg.connect(postgres) as conn:
        rows = conn.execute("SELECT note, amount::int FROM sales.orders ORDER BY order_no")
        assert rows.fetchall() == [("a", 5), ("'=1+1", 6), ("+x", 7)]


def test_rows_of_every_domain_are_listed_exported_and_discarded(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, [1, "a", 5], [2, "b", "x"])
    write_market_letter(postgres)
    capsys.readouterr()

    assert run(["dead-letters", "list", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [item["target"] for item in found] == ["market.daily_bars", "sales.orders"]
    assert run(["dead-letters", "export", "m.xlsx", "--target", "market"]) == 0
    sheet = openpyxl.load_workbook("m.xlsx")["Fix me"]
    assert sheet[1][-1].value == "close"
    assert (sheet[2][-1].value, sheet[2][-1].data_type) == ("=Z", "s")
    assert run(["dead-letters", "export", "all.json"]) == 0
    assert len(json.loads(Path("all.json").read_text())) == 2
    assert run(["dead-letters", "replay", "--target", "market"]) != 0
    assert "load the day again" in capsys.readouterr().err
    assert run(["dead-letters", "discard", "--target", "market", "--reason", "a test"]) == 0
    assert run(["dead-letters", "discard", "--reason", "all of it"]) != 0
    assert [(state, why) for _, state, _, why in letters(postgres)] == [
        ("open", None),
        ("discarded", "a test"),
    ]


@pytest.mark.long
def test_inbox_takes_corrections_and_returns_what_is_still_wrong(
    project: Path, postgres: str
) -> None:
    errors = load(project, [1, "a", 5], [2, "b", "x"], [3, "c", "y"])
    inbox = project / "inbox"
    inbox.mkdir()
    edit(errors, (1, "Amount", 6), (2, "Amount", "?")).rename(inbox / "one.xlsx")
    os.utime(inbox / "one.xlsx", (0, 0))
    (inbox / "~$one.xlsx").write_text("Excel's own")
    stranger = openpyxl.Workbook()
    stranger.active.append([date(2024, 1, 1)])
    stranger.save(inbox / "other.xlsx")

    assert run(["dead-letters", "replay"]) == 1

    assert sorted(path.name for path in inbox.iterdir() if path.is_file()) == ["~$one.xlsx"]
    assert [path.name for path in (inbox / "done").iterdir()] == ["one.xlsx"]
    assert "has no sheet 'Fix me'" in (inbox / "refused" / "other.xlsx.txt").read_text()
    [again] = (inbox / "again").iterdir()
    edit(again, (1, "Amount", 7), name="two.xlsx").rename(inbox / "two.xlsx")
    assert run(["dead-letters", "replay"]) == 0
    assert {state for _, state, _, _ in letters(postgres)} == {"replayed"}


def test_failed_documents_are_read_again(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "batch_assets.toml").open("a") as configuration:
        configuration.write('\n[documents.sources.files]\nurl = "files"\n')
    folder = project / "files"
    folder.mkdir()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    os.utime(folder / "broken.pdf", (1_727_700_000, 1_727_700_000))
    run(["documents", "ingest"])
    assert run(["dead-letters", "list", "--target", "documents"]) == 1
    assert "replay --target documents" in capsys.readouterr().err

    run(["dead-letters", "replay", "--target", "documents"])

    with psycopg.connect(postgres) as conn:
        found = conn.execute("SELECT state, seen_count FROM ops.dead_letters").fetchall()
    assert found == [("open", 2)]


def test_rows_of_a_transfer_are_read_again_until_none_is_wrong(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "batch_assets.toml").open("a") as configuration:
        configuration.write(
            '\n[tables.transfers.orders]\ntable = "public.shop"\ntarget = "public.copies"\n'
            'key = ["id"]\nreject_limit_ratio = 1\n'
        )
    with psycopg.connect(postgres) as conn:
        conn.execute("CREATE TABLE shop (id bigint PRIMARY KEY, amount numeric)")
        conn.execute("INSERT INTO shop VALUES (1, 5), (2, -5)")
        conn.execute(
            "CREATE TABLE copies (id bigint PRIMARY KEY, amount numeric CHECK (amount >= 0), "
            "load_id bigint)"
        )
    assert run(["tables", "run", "orders"]) == 0
    capsys.readouterr()

    assert run(["dead-letters", "replay", "--target", "public.copies"]) == 1
    assert "1 dead letters of public.copies are open" in capsys.readouterr().err
    with psycopg.connect(postgres) as conn:
        conn.execute("UPDATE shop SET amount = 6 WHERE id = 2")
    assert run(["dead-letters", "replay", "--target", "public.copies"]) == 0
