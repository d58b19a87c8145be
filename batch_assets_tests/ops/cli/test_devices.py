"""`batch-assets devices`: what the commands print, and what they end with."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from batch_assets.ingest.devices.inbox import append_to_inbox
from batch_assets.ops.cli.main import run
from batch_assets.ops.devices import prune_batch_metrics
from batch_assets.settings import load_settings
from batch_assets_tests.ingest.devices.landing import (
    ask,
    body_of,
    drop,
    last_of,
    make_rows,
    stored,
)
from batch_assets_tests.polling import wait_until


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str) -> Path:
    (tmp_path / "batch_assets.toml").write_text(
        "[devices]\nlanding = 'landing'\nsettle_seconds = 0\nshards = 4\nbatch_seconds = 0.1\n"
    )
    (tmp_path / "landing").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    monkeypatch.delenv("BATCH_ASSETS_CONFIG", raising=False)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    assert run(["devices", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def post(url: str, *rows: tuple[str, int, int]) -> None:
    with psycopg.connect(url) as conn:
        append_to_inbox(conn, [body_of(*row) for row in rows])


def test_folder_and_inbox_are_loaded_once(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(300)
    drop(project / "landing", "a.ndjson", rows)
    post(postgres, ("LATE", 1, 60))

    waiting = printed(capsys, "load", "--dry-run")
    assert waiting == {"files": ["a.ndjson"], "inbox_rows": 1}
    assert ask(postgres, "SELECT count(*) FROM devices.files") == [(0,)]

    loaded = printed(capsys, "load")
    assert isinstance(loaded, dict)
    assert (loaded["read"], loaded["failed_shards"]) == (301, {})
    assert stored(postgres) == sorted([*last_of(rows), (("LATE", 1), 60)])
    assert run(["devices", "load"]) == 0
    assert capsys.readouterr().out == "nothing waits\n"


def test_broken_file_is_named_and_the_rest_is_loaded(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    drop(project / "landing", "a.ndjson", [("SN1", 1, 60)])
    (project / "landing" / "b.csv").write_text("x,y\n1,2\n")

    assert run(["devices", "load"]) == 4

    out = capsys.readouterr()
    assert out.out == "1 read, 1 inserted\n"
    assert "b.csv" in out.err
    assert stored(postgres) == [(("SN1", 1), 60)]


def test_status_says_what_waits_and_reshard_moves_few_buckets(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed(capsys, "load")
    post(postgres, ("SN1", 1, 60), ("SN1", 2, 60), ("SN2", 2, 60))

    would = printed(capsys, "reshard", "5", "--dry-run")
    done = printed(capsys, "reshard", "5")
    status = printed(capsys, "status")

    assert would == done == {"shards_before": 4, "shards": 5, "moved_buckets": 51, "version": 2}
    assert isinstance(status, dict)
    assert (status["inbox_rows"], status["workers"], len(status["shards"])) == (3, 0, 5)
    assert status["oldest_seconds"] > 0
    assert sum(one["buckets"] for one in status["shards"]) == 256
    assert run(["devices", "status"]) == 0
    assert "inbox 3 of 100,000" in capsys.readouterr().out
    assert run(["devices", "shards"]) == 0
    assert "nobody" in capsys.readouterr().out


def test_devices_that_stopped_sending_are_listed_longest_silence_first(
    project: Path, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "batch_assets.toml").open("a") as file:
        file.write("silent_seconds = 3600\n")
    assert run(["devices", "silent"]) == 0
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO devices.latest (device_sn, measured_at, load_id) VALUES"
            " ('A', now() - interval '2 hours', 1), ('B', now() - interval '3 days', 1),"
            " ('C', now(), 1)"
        )
    capsys.readouterr()

    assert run(["devices", "silent", "--json"]) == 1

    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["device_sn"] for one in found] == ["B", "A"]
    assert found[1]["silent_seconds"] == pytest.approx(7200, abs=60)
    assert run(["devices", "silent", "--limit", "1"]) == 1
    shown = capsys.readouterr()
    assert ("B" in shown.out, "A" in shown.out) == (True, False)
    assert "2 devices sent nothing for more than 1.0 h" in shown.err


@pytest.mark.long
def test_run_writes_what_comes_and_ends_well_when_it_is_told_to(
    project: Path, postgres: str
) -> None:
    rows = make_rows(200)
    command = [sys.executable, "-m", "batch_assets.ops.cli.main", "devices", "run", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            drop(project / "landing", "a.ndjson", rows)
            post(postgres, ("LATE", 1, 60))
            wait_until(
                lambda: (
                    ask(postgres, "SELECT coalesce(sum(rows_read), 0)::int FROM ops.loads")
                    == [(201,)]
                ),
                "all records",
                60,
            )
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()

    assert process.returncode == 0
    assert json.loads(out)["read"] == 201
    assert ask(postgres, "SELECT resource FROM ops.leases") == []


def test_figures_of_batches_are_kept_as_long_as_configured(project: Path, postgres: str) -> None:
    drop(project / "landing", "a.ndjson", [("SN1", 1, 60)])
    assert run(["devices", "load"]) == 0
    settings, now = load_settings(), datetime.now(UTC)

    with psycopg.connect(postgres) as conn:
        early = prune_batch_metrics(conn, settings, now + timedelta(days=29))
        late = prune_batch_metrics(conn, settings, now + timedelta(days=31))

    assert (early, late) == (0, 1)


def test_run_without_its_folder_says_what_to_do(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "landing").rmdir()

    assert run(["devices", "run"]) == 7

    assert "--no-files" in capsys.readouterr().err
