"""Bars that were rejected, exported, corrected and replayed into their day."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest

from batch_assets.ingest.market.daily_bars import DayReport, options_of, sync_days
from batch_assets.loading.report import RecognisedBy
from batch_assets.ops.cli.main import run
from batch_assets.settings import LoadingSettings, current_settings, load_settings
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.ingest.spreadsheets.loop import edit

DAY = date(2024, 9, 27)
SECTION = """
[execution]
cpu_workers = 1
spare_workers = 0

[market.feeds.own]
folder = "files"
layout = "by_day"
files = "{date}.csv"
calendar = "OWN"
calendar_file = "days.csv"
time_zone = "UTC"
closes_at = "16:00:00"
volume_unit = "lot"
reject_limit_ratio = 0.9
symbol = { exchange = "XX" }
columns = { symbol = "Code", volume = "Lots" }
"""
HEADER = "date,Code,open,high,low,close,Lots,amount,Remark"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Path:
    (tmp_path / "batch_assets.toml").write_text(SECTION)
    (tmp_path / "days.csv").write_text(f"{DAY},open\n")
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    return tmp_path


def bar(code: str, close: str = "10.5", lots: str = "1", day: str = str(DAY)) -> str:
    return f"{day},{code},10,11,9,{close},{lots},1050,as sent"


def load(project: Path, url: str, *rows: str, header: str = HEADER) -> DayReport:
    (project / "files" / f"{DAY}.csv").write_text("\n".join([header, *rows]) + "\n")
    settings = load_settings()
    feed = build_feeds(settings.section("market"), project)["own"]
    [report] = sync_days(
        lambda: psycopg.connect(url),
        feed,
        open_feed(feed, project / "cache"),
        [DAY],
        now=datetime(2024, 10, 20, tzinfo=UTC),
        options=options_of(feed, LoadingSettings()),
    )
    return report


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement).fetchall()  # type: ignore[arg-type]


def bars(url: str) -> list[tuple[Any, ...]]:
    return ask(
        url,
        "SELECT symbol, close::float, volume::float, revision FROM market.daily_bars ORDER BY 1",
    )


def ledger(url: str) -> tuple[Any, ...]:
    return ask(
        url,
        "SELECT rows_read, rows_inserted, rows_updated, rows_unchanged, rows_duplicate, "
        "rows_rejected, rows_skipped, rows_after - rows_before, state FROM ops.loads "
        "ORDER BY load_id DESC LIMIT 1",
    )[0]


def export(project: Path) -> Path:
    assert run(["dead-letters", "export", "bars.xlsx", "--target", "market.daily_bars"]) == 0
    return project / "bars.xlsx"


def replay(path: Path, capsys: pytest.CaptureFixture[str], expected: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["dead-letters", "replay", str(path), "--by", "ann", "--json"]) == expected
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.long
def test_corrected_bars_join_their_day_once(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, bar("A"), bar("B", "Z9.63"), bar("C", "99"), bar("D", "x"), "cut,off")
    window = "SELECT version, published_version, row_count, content_hash FROM ops.windows"
    [before] = ask(postgres, window)

    book = export(project)
    header = next(openpyxl.load_workbook(book)["Fix me"].values)
    fixed = edit(
        book, (1, "close", 9.63), (2, "close", "9.75"), (3, "_action", "drop"),
        (4, "date", str(DAY)), (4, "Code", "E"), (4, "open", 10), (4, "high", 11), (4, "low", 9),
        (4, "close", 10), (4, "Lots", "2"), (4, "amount", "2,100.00"),
    )  # fmt: skip
    report = replay(fixed, capsys)
    again = replay(fixed, capsys)

    assert header[8:] == (*HEADER.split(","), "line")
    assert (report["fixed"], report["dropped"], report["still_wrong"]) == (3, 1, 0)
    assert (again["fixed"], again["dropped"], again["answered_before"]) == (0, 0, 4)
    # Lots of the file are shares of the table, as in any load.
    assert bars(postgres) == [
        ("A.XX", 10.5, 100, 1),
        ("B.XX", 9.63, 100, 1),
        ("C.XX", 9.75, 100, 1),
        ("E.XX", 10, 200, 1),
    ]
    assert ledger(postgres) == (5, 3, 0, 1, 0, 0, 1, 3, "success")
    assert ask(postgres, window) == [(before[0] + 1, before[1] + 1, 4, None)]
    assert run(["dead-letters", "list"]) == 0


def test_number_of_a_workbook_is_that_number_in_a_feed_with_decimal_commas(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "batch_assets.toml").write_text(
        SECTION.replace("volume_unit", 'delimiter = ";"\ndecimal = ","\nvolume_unit')
    )
    closes = {"A": "x", "B": "x", "C": "10_5"}
    rows = [bar(*row).replace(",", ";").replace("_", ",") for row in closes.items()]
    load(project, postgres, *rows, header=HEADER.replace(",", ";"))

    fixed = edit(export(project), (1, "close", 9.625), (2, "close", "9,625"))
    report = replay(fixed, capsys)

    assert (report["fixed"], report["still_wrong"]) == (2, 0)
    assert bars(postgres) == [
        ("A.XX", 9.625, 100, 1),
        ("B.XX", 9.625, 100, 1),
        ("C.XX", 10.5, 100, 1),
    ]


def test_file_is_recognised_and_compared_after_a_replay(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (bar("A"), bar("B", "x"))
    load(project, postgres, *rows)
    replay(edit(export(project), (1, "close", 9)), capsys)

    same = load(project, postgres, *rows)
    corrected = load(project, postgres, bar("A"), bar("B", "9.5"))

    assert same.load.recognised_by is RecognisedBy.SOURCE_HASH
    assert (corrected.load.ledger.updated, corrected.load.ledger.unchanged) == (1, 1)
    assert bars(postgres)[1] == ("B.XX", 9.5, 100, 2)


@pytest.mark.long
def test_bars_that_are_still_wrong_come_back_in_a_workbook(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, bar("A"), bar("B", "x"), bar("C", "y"), bar("D", "z"))

    report = replay(
        edit(export(project), (1, "close", "-1"), (2, "date", "2024-09-26"), (3, "close", 9)),
        capsys,
        expected=1,
    )
    [again] = report["error_workbooks"]
    report = replay(edit(Path(again), (1, "close", 9), (2, "_action", "drop")), capsys)

    assert (report["fixed"], report["dropped"], report["still_wrong"]) == (1, 1, 0)
    assert [row[0] for row in bars(postgres)] == ["A.XX", "B.XX", "D.XX"]
    assert ledger(postgres)[5:7] == (0, 1)


@pytest.mark.long
def test_one_of_two_bars_with_one_key_is_chosen(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, bar("A"), bar("B", "9.5", "0.5"), bar("B", "9.5", "2"))
    book = export(project)

    both = replay(edit(book), capsys, expected=1)
    one = replay(edit(book, (1, "_action", "drop")), capsys)

    assert (both["fixed"], both["still_wrong"]) == (0, 2)
    assert (one["fixed"], one["dropped"]) == (1, 1)
    assert bars(postgres)[1] == ("B.XX", 9.5, 200, 1)


def test_bar_of_an_older_file_is_replaced_and_that_of_the_same_file_is_not(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, bar("A"), bar("B"))
    load(project, postgres, bar("A", "10.6"), bar("B", "x"), bar("C", "y"))

    report = replay(edit(export(project), (1, "close", 9), (2, "Code", "A")), capsys, expected=1)

    assert (report["fixed"], report["still_wrong"]) == (1, 1)
    assert bars(postgres) == [("A.XX", 10.6, 100, 2), ("B.XX", 9, 100, 2)]
    history = ask(postgres, "SELECT symbol, close::float FROM market.daily_bars_history ORDER BY 1")
    assert history == [("A.XX", 10.5), ("B.XX", 10.5)]


def test_answer_to_a_row_that_a_newer_file_has_right_is_refused(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, bar("A"), bar("B", "x"))
    book = export(project)
    load(project, postgres, bar("A"), bar("B", "9"))

    assert run(["dead-letters", "replay", str(edit(book, (1, "close", 8)))]) == 1

    assert "a newer load of" in capsys.readouterr().err
    assert bars(postgres)[1] == ("B.XX", 9, 100, 1)
