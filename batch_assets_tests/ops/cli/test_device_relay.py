"""`batch-assets devices load` and `relay`, from batch_assets.toml alone, with a real Redis."""

import json
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from batch_assets.ops.cli.devices import app
from batch_assets_tests.ingest.devices.landing import ask, drop
from batch_assets_tests.ingest.devices.relaying import Listener, redis_server, short_folder

CONFIG = """
[devices]
landing = "landing"
settle_seconds = 0
redis_url_env = "DEVICE_REDIS_URL"

[[devices.alerts.rules]]
name = "fast"
metric = "heart_rate_bpm"
max = 120
"""


@pytest.fixture
def project(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "batch_assets.toml").write_text(CONFIG)
    monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres)
    return tmp_path


def invoke(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == status, (result.output, result.exception)
    return result.stdout


def test_load_opens_alerts_and_tells_redis_as_soon_as_it_answers(
    project: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVICE_REDIS_URL", f"unix://{project}/nobody.sock")
    drop(project / "landing", "a.ndjson", [("SN1", 1, 130), ("SN2", 1, 60)])

    loaded = json.loads(invoke("load"))
    down = json.loads(invoke("relay", status=6))
    [backlog] = json.loads(invoke("relay", "--dry-run"))

    assert loaded["inserted"] == 2
    assert ask(postgres, "SELECT device_sn, rule FROM devices.alerts") == [("SN1", "fast")]
    assert down["sent"] == 0
    assert "Redis takes nothing now" in down["unavailable"]["redis"]
    assert (backlog["destination"], backlog["waiting"], backlog["held_back"]) == ("redis", 1, 0)

    with short_folder() as folder, redis_server(folder) as url, redis.Redis.from_url(url) as client:
        monkeypatch.setenv("DEVICE_REDIS_URL", url)
        with Listener(client) as listener:
            sent = json.loads(invoke("relay"))
            heard = listener.heard()

    assert sent["sent"] == 1
    assert [(channel, told["value"]) for channel, told in heard] == [
        ("health_alert_channel:SN1", 130)
    ]


def test_relay_without_a_destination_says_what_to_write(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEVICE_REDIS_URL", raising=False)

    result = CliRunner().invoke(app, ["relay"])

    assert result.exit_code == 1
    assert "redis_url_env" in str(result.exception)
