import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batch_assets.ops.cli.main import run
from batch_assets_tests.ops.backfills.planted import plant_load, plant_run

FEED = """
[market.feeds.cn]
folder = "bars"
layout = "by_day"
files = "{date}.csv"
calendar = "XSHG"
symbol = { style = "cn" }
"""
RANGE = ["--from", "2024-09-27", "--to", "2024-10-08"]
KEYS = [f"2024-{day}" for day in ("09-27", "09-28", "09-29", "09-30", "10-01", "10-02")]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bars").mkdir()
    (tmp_path / "batch_assets.toml").write_text(FEED)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    return tmp_path


def plant_end(url: str, state: str, *, error: tuple[str, str] | None = None) -> None:
    """What runs and the driver do: five days good, one not, the rest no session."""
    started = datetime(2024, 10, 9, tzinfo=UTC)
    with psycopg.connect(url) as conn:
        scope = conn.execute("SELECT scope FROM ops.backfills").fetchone()
        assert scope == ("cn",)
        worker = plant_run(conn, 1, "run-1")
        for key in KEYS[:5]:
            plant_load(conn, worker, key, rows=50, rejected=1)
        plant_load(conn, worker, KEYS[5], "failed", rows=0, error=error)
        for day in range(3, 9):
            plant_load(conn, worker, f"2024-10-{day:02d}", "skipped", rows=0, reason="holiday")
        conn.execute(
            "UPDATE ops.backfills SET state = %s, started_at = %s, ended_at = %s",
            (state, started, started + timedelta(minutes=15, seconds=30)),
        )


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_launching_twice_gives_one_number_and_an_overlap_is_a_held_lock(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["backfill", "market", *RANGE, "--detach"]) == 0
    assert run(["backfill", "market", *RANGE, "--detach"]) == 0
    assert capsys.readouterr().out == "1\n1\n"

    assert run(["backfill", "market", "--from", "2024-10-08", "--to", "2024-10-09"]) == 5

    assert "overlaps backfill 1" in capsys.readouterr().err


def test_wrong_ranges_and_numbers_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backfill", "market", "--from", "2024-10-09", "--to", "2024-10-08"]) == 2
    assert run(["backfill", "market", "--from", "2024-10-09", "--to", "2999-01-01"]) == 2
    assert run(["backfill", "--from", "2024-10-09"]) == 2
    assert run(["pause", "9"]) == 2
    assert "there is no backfill 9" in capsys.readouterr().err


def test_a_plan_is_applied_as_written_or_not_at_all(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = str(project / "plan.json")
    assert run(["plan", "market", *RANGE, "--out", plan]) == 0
    assert run(["backfill", "--plan", plan, "--detach"]) == 0
    assert run(["cancel", "1"]) == 0
    written = json.loads(Path(plan).read_text())
    written["days"][0]["why"] = "already_present"
    Path(plan).write_text(json.dumps(written))
    capsys.readouterr()

    assert run(["backfill", "--plan", plan]) == 1

    said = capsys.readouterr().err
    assert "2024-09-27 was already_present and is missing" in said
    assert "nothing was launched" in said
    (project / "no.json").write_text("[]")
    assert run(["backfill", "--plan", str(project / "no.json")]) == 2


def test_following_ends_with_the_summary_in_the_users_language_and_a_status(
    postgres: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["backfill", "market", *RANGE, "--detach"])
    plant_end(postgres, "partial", error=("SourceUnavailable", "connection timeout"))
    capsys.readouterr()

    # What failed is launched again, and its end is there before it is looked at.
    assert run(["retry", "--failed", "--detach"]) == 0
    assert capsys.readouterr().out == "2\n"
    with psycopg.connect(postgres) as conn:
        plant_load(conn, plant_run(conn, 2, "run-2"), KEYS[5])
        conn.execute(
            "UPDATE ops.backfills SET ended_at = now(), state = 'success' WHERE backfill_id = 2"
        )
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["status", "1"]) == 0
    shown = capsys.readouterr().out
    assert "批量同步完成: 成功5, 失败1, 跳过6, 耗时15分30秒" in shown
    assert "2024-10-02: connection timeout" in shown
    # In a pipe a line stays a line, however long.
    assert shown.splitlines()[0].startswith("1  cn  2024-09-27 - 2024-10-08  partial  ")
    assert "@" in shown.splitlines()[0]


def test_errors_are_data_and_become_a_workbook_and_a_page(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["backfill", "market", *RANGE, "--detach"])
    plant_end(postgres, "partial", error=("UnreadableSource", "=cmd <b>cut</b>"))
    capsys.readouterr()
    book, page = project / "e.xlsx", project / "e.html"

    status = run(["errors", "--json", "--xlsx", str(book), "--html", str(page)])

    (error,) = lines(capsys)
    assert (status, error["version"], error["event"], error["position"]) == (1, 1, "error", 6)
    assert error["happened_at"].endswith("+08:00")
    from openpyxl import load_workbook

    cell = load_workbook(book)["Days"]["E2"]
    assert (cell.value, cell.data_type) == ("=cmd <b>cut</b>", "s")
    assert "=cmd &lt;b&gt;cut&lt;/b&gt;" in page.read_text()


def test_status_and_history_are_one_json_object_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(["backfill", "market", *RANGE, "--detach"])
    assert run(["pause", "1"]) == 0
    assert run(["priority", "1", "5"]) == 0
    assert run(["pause", "--feed", "cn"]) == 0
    capsys.readouterr()

    assert run(["status", "--json"]) == 0
    (progress,) = lines(capsys)
    assert run(["history", "--json"]) == 0
    (backfill,) = lines(capsys)
    assert run(["history", "1", "--json"]) == 0
    audit = lines(capsys)

    assert (progress["event"], progress["total"], progress["done"]) == ("progress", 12, 0)
    assert progress["backfill"]["phase"] == "pausing"
    assert (backfill["priority"], backfill["wanted"]) == (5, "pause")
    assert [line["action"] for line in audit] == [
        "backfill.priority",
        "backfill.pause",
        "backfill.launch",
    ]


def test_logs_of_all_runs_of_a_backfill_come_in_one_by_time(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backfill", "market", *RANGE, "--detach"]) == 0
    folder = project / "state" / "logs" / "runs"
    folder.mkdir(parents=True)
    with psycopg.connect(postgres) as conn:
        for run_id, seconds in (("aaaa-1", (1, 4)), ("bbbb-2", (2, 3))):
            plant_run(conn, 1, run_id)
            texts = [
                json.dumps(
                    {"at": f"2024-10-09T08:00:0{second}+08:00", "level": "INFO"}
                    | {"run": run_id, "message": f"第{second}天"},
                    ensure_ascii=False,
                )
                for second in seconds
            ]
            cut_off = '{"at": "2024-10-'
            (folder / f"{run_id}.jsonl").write_text("\n".join([*texts, cut_off]))
    capsys.readouterr()

    assert run(["logs", "1", "--json"]) == 0

    assert [line["message"] for line in lines(capsys)] == ["第1天", "第2天", "第3天", "第4天"]
    assert run(["logs", "bbbb"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("INFO    bbbb-2 第2天")
    assert run(["logs", "cccc"]) != 0
    assert "has no log of cccc" in capsys.readouterr().err
