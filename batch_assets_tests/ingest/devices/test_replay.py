"""Records that were rejected, exported, corrected and replayed into their shards."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batch_assets.ops.cli.main import run as command
from batch_assets.settings import current_settings
from batch_assets_tests.ingest.devices.landing import Plan, ask, body_of, run, stored
from batch_assets_tests.ingest.spreadsheets.loop import edit
from batch_assets_tests.ops.cli import dying_replay

_LEDGERS = """
    SELECT sum(rows_read), sum(rows_inserted), sum(rows_skipped), sum(rows_rejected),
           sum(rows_read - rows_inserted - rows_updated - rows_unchanged - rows_duplicate
               - rows_rejected - rows_skipped)
    FROM ops.loads WHERE reason = 'replay'
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Path:
    (tmp_path / "batch_assets.toml").write_text("[execution]\ncpu_workers = 1\nspare_workers = 0\n")
    (tmp_path / "landing").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    current_settings.cache_clear()
    return tmp_path


def load(project: Path, url: str, name: str, *lines: str) -> None:
    (project / "landing" / name).write_text("\n".join(lines) + "\n")
    run(Plan(url, str(project / "landing")))


def export(project: Path) -> Path:
    command(["dead-letters", "export", "records.xlsx", "--target", "devices.records"])
    return project / "records.xlsx"


def replay(path: Path, capsys: pytest.CaptureFixture[str], expected: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert command(["dead-letters", "replay", str(path), "--json"]) == expected
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.long
def test_corrected_records_are_written_once_by_the_shard_of_their_device(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        json.dumps(body_of("A", 1, 60)),
        json.dumps(body_of("B", 2, 9999)),
        json.dumps(body_of("C", 3, -5)),
        "{not json",
        json.dumps({"device_sn": "D", "main_data": {"measured_at": "soon", "heart_rate": 70}}),
    ]
    load(project, postgres, "a.ndjson", *rows)
    book = edit(
        export(project),
        *((row, "_action", "drop") for row in range(1, 5)),
    )
    ids = {
        (original or {}).get("device_sn"): place
        for place, (original,) in enumerate(
            ask(postgres, "SELECT original FROM ops.dead_letters ORDER BY target, scope, "
                "window_key, source_file, row_number"), 1)
    }  # fmt: skip
    good = json.dumps({"measured_at": "2025-01-31T00:02:00Z", "heart_rate": 99})
    line = json.dumps(body_of("E", 5, 80))

    book = edit(
        book,
        (ids["B"], "_action", "fix"), (ids["B"], "main_data", good),
        (ids[None], "_action", "fix"), (ids[None], "line", line),
        (ids["D"], "_action", "fix"),
    )  # fmt: skip
    report = replay(book, capsys, expected=1)
    again = replay(book, capsys, expected=1)
    [left] = again["error_workbooks"]
    last = replay(edit(Path(left), (1, "_action", "drop")), capsys)

    assert (report["fixed"], report["dropped"], report["still_wrong"]) == (2, 1, 1)
    assert (again["fixed"], again["answered_before"], again["still_wrong"]) == (0, 3, 1)
    assert (last["dropped"], last["still_wrong"]) == (1, 0)
    assert stored(postgres) == [(("A", 1), 60), (("B", 2), 99), (("E", 5), 80)]
    assert ask(postgres, _LEDGERS) == [(6, 2, 2, 2, 0)]
    assert ask(postgres, "SELECT count(*) FROM ops.dead_letters WHERE state = 'open'") == [(0,)]
    assert ask(postgres, "SELECT * FROM ops.leases") == []
    assert ask(postgres, "SELECT sum(record_count) FROM devices.daily_rollups") == [(3,)]


def test_record_that_a_newer_load_has_written_is_not_overwritten(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, "a.ndjson", json.dumps(body_of("B", 2, 9999)))
    book = export(project)
    load(project, postgres, "b.ndjson", json.dumps(body_of("B", 2, 61)))
    good = json.dumps({"measured_at": "2025-01-31T00:02:00Z", "heart_rate": 99})

    assert command(["dead-letters", "replay", str(edit(book, (1, "main_data", good)))]) == 1

    assert "have moved on" in capsys.readouterr().err
    assert stored(postgres) == [(("B", 2), 61)]
    assert ask(postgres, "SELECT state FROM ops.dead_letters") == [("open",)]


@pytest.mark.crash
def test_killed_replay_is_not_waited_for(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(project, postgres, "a.ndjson", json.dumps(body_of("B", 2, 9999)))
    good = json.dumps({"measured_at": "2025-01-31T00:02:00Z", "heart_rate": 99})
    book = edit(export(project), (1, "_action", "fix"), (1, "main_data", good))
    command_line = [sys.executable, "-m", dying_replay.__name__, "stream.after_commit=kill@1"]
    killed = subprocess.run([*command_line, str(book)], check=False)
    assert killed.returncode == -signal.SIGKILL
    [(resource,)] = ask(postgres, "SELECT resource FROM ops.leases")
    # However long the term of its lease is.
    ask(postgres, "UPDATE ops.leases SET expires_at = now() + interval '1 day' RETURNING 1")

    again = replay(book, capsys)

    assert (again["fixed"], again["answered_before"]) == (0, 1)
    assert stored(postgres) == [(("B", 2), 99)]
    assert ask(postgres, "SELECT * FROM ops.leases") == []
    died = "SELECT resource FROM ops.loads WHERE reason = 'holder_died'"
    assert ask(postgres, died) == [(resource,)]
