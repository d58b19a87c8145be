"""`alerts` and `prune` from the command line."""

import json
from pathlib import Path

import psycopg
import pytest

from batch_assets.ops.cli.main import run

CONFIGURATION = """
[alerts.channels.hook]
kind = "webhook"
url_env = "HOOK_URL_OF_NOBODY"

[retention]
audit_days = 1
"""


@pytest.fixture(autouse=True)
def settings_of_this_test(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "batch_assets.toml").write_text(CONFIGURATION)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)


def test_alerts_are_listed_open_ones_first_asked_for(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO ops.alerts (rule, subject, metric, severity, state, value, allowed,"
            " broken_since, fired_at, resolved_at, resolution) VALUES"
            " ('lag', 'q', 'm', 'critical', 'firing', 1, 0, now(), now(), NULL, NULL),"
            " ('memory', '', 'm', 'warning', 'resolved', 1, 0, now(), now(), now(), 'normal')"
        )

    assert run(["alerts", "list", "--json"]) == 0
    assert [json.loads(line)["rule"] for line in capsys.readouterr().out.splitlines()] == ["lag"]
    assert run(["alerts", "list", "--all", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_channel_that_takes_nothing_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alerts", "test"]) == 1
    assert "HOOK_URL_OF_NOBODY is not set" in capsys.readouterr().out
    assert run(["alerts", "test", "nobody"]) != 0
    assert "expected one of hook" in capsys.readouterr().err


def test_prune_counts_first_and_leaves_an_audit_row(
    postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO ops.audit VALUES (DEFAULT, now() - interval '2 d', 'a', 'b', 'c')"
        )

        assert run(["prune", "--dry-run"]) == 0
        assert "         1  ops.audit" in capsys.readouterr().out
        assert run(["prune", "--json"]) == 0
        gone = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        left = conn.execute("SELECT action, detail ->> 'ops.audit' FROM ops.audit").fetchall()

    assert {one["what"]: one["count"] for one in gone}["ops.audit"] == 1
    assert left == [("prune", "1")]
