import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError, DatabaseUnavailable, MigrationError
from batch_assets.execution.isolation import SPOOL_NAME, IsolatedWorkers, Task, TaskLimits
from batch_assets.ops.doctor import Finding, examine
from batch_assets.postgres import connect as connect_module
from batch_assets.settings import load_settings
from batch_assets_tests.polling import wait_until

Arrange = Callable[..., dict[str, Finding]]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arrange:
    """Runs the doctor on a configuration of this test's own; findings by layer, in order."""

    def run(url: str, config: str = "", dagster_yaml: str | None = None) -> dict[str, Finding]:
        (tmp_path / "batch_assets.toml").write_text(config)
        if dagster_yaml is not None:
            (tmp_path / "dagster.yaml").write_text(dagster_yaml)
        monkeypatch.setenv("BATCH_ASSETS_CONFIG", str(tmp_path / "batch_assets.toml"))
        monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", url)
        return {finding.layer: finding for finding in examine()}

    return run


STORAGE = """
storage:
  custom:
    module: batch_assets.runs.instance_storage
    class: SettingsPostgresStorage
    config: {}
"""


def test_sound_layers_are_listed_from_settings_to_newest_load(
    examined: Arrange, postgres: str
) -> None:
    found = examined(postgres)

    assert list(found) == [
        "settings",
        "server",
        "database",
        "migrations",
        "dagster",
        "connections",
        "pool budget",
        "workers",
        "feeds",
        "newest load",
    ]
    assert {finding.verdict for finding in found.values()} <= {"ok", "warn"}
    assert found["newest load"].text == "none yet"


def test_wrong_settings_are_the_last_line(examined: Arrange) -> None:
    found = examined("postgresql:///x", config="[database]\npool_min = -1\n")

    assert list(found) == ["settings"]
    assert found["settings"].verdict == "broken"
    assert "pool_min" in found["settings"].text
    assert isinstance(found["settings"].error, ConfigurationError)


def test_server_that_does_not_answer_is_the_last_line(examined: Arrange) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = examined(f"postgresql://u:secret@127.0.0.1:{unused.getsockname()[1]}/x")

    broken = last(found)
    assert (broken.layer, type(broken.error)) == ("server", DatabaseUnavailable)
    assert "NO_RESPONSE" in broken.text
    assert "secret" not in broken.text


def test_missing_database_is_the_last_line(examined: Arrange, postgres_server: object) -> None:
    found = examined(postgres_server.database_url("no_such_database"))  # type: ignore[attr-defined]

    broken = last(found)
    assert (broken.layer, type(broken.error)) == ("database", DatabaseUnavailable)
    assert 'database "no_such_database" does not exist' in broken.text


def test_server_that_is_too_old_is_the_last_line(
    examined: Arrange, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect_module, "OLDEST_SERVER_VERSION", 990000)

    broken = last(examined(postgres))

    assert (broken.layer, type(broken.error)) == ("database", ConfigurationError)
    assert "expected 14 or newer" in broken.text


def test_pending_migrations_name_the_command_that_applies_them(
    examined: Arrange, postgres_empty: str
) -> None:
    broken = last(examined(postgres_empty))

    assert (broken.layer, type(broken.error)) == ("migrations", MigrationError)
    assert len(str(broken.error)) < 200
    assert broken.next_command == "batch-assets db migrate"
    assert "0001_create_ops.sql" in broken.text


def test_edited_migration_is_the_last_line(examined: Arrange, postgres: str) -> None:
    with psycopg.connect(postgres) as conn:
        conn.execute("UPDATE ops.schema_migrations SET checksum = 'other' WHERE version = 1")

    broken = last(examined(postgres))

    assert (broken.layer, type(broken.error)) == ("migrations", MigrationError)


def test_instance_file_that_dagster_refuses_is_the_last_line(
    examined: Arrange, postgres: str
) -> None:
    broken = last(examined(postgres, dagster_yaml="no_such_option: 1\n"))

    assert (broken.layer, type(broken.error)) == ("dagster", ConfigurationError)
    assert "no_such_option" in broken.text


@pytest.mark.long
def test_more_runs_than_connections_is_the_last_line(examined: Arrange, postgres: str) -> None:
    dagster_yaml = STORAGE + "concurrency:\n  runs:\n    max_concurrent_runs: 5000\n"

    broken = last(examined(postgres, dagster_yaml=dagster_yaml))

    assert (broken.layer, type(broken.error)) == ("connections", ConfigurationError)
    assert "5000 runs at once need 20020 connections" in broken.text


def test_pools_that_could_take_every_connection_are_a_warning(
    examined: Arrange, postgres: str
) -> None:
    found = examined(postgres, config="[database]\npool_max = 900\n")

    assert found["connections"].verdict == "warn"
    assert "5420 if each fills its pool" in found["connections"].text
    # No run could start with such a pool.
    assert (last(found).layer, last(found).verdict) == ("pool budget", "broken")
    assert "4 processes with pools of 900 connections need 3600" in last(found).text


@pytest.mark.long
def test_pool_budget_and_worker_pools_are_told(examined: Arrange, postgres: str) -> None:
    alone = examined(postgres)
    spool_dir = load_settings().state_dir / SPOOL_NAME
    limits = TaskLimits(timeout_seconds=60, memory_bytes=1024**3)

    with IsolatedWorkers(workers=1, spare_workers=0, spool_dir=spool_dir) as pool:
        [result] = pool.run([Task("builtins:len", "four", limits)])
        wait_until(
            lambda: " 1 done, 0 failed" in examined(postgres)["workers"].text,
            "statistics of the pool",
            60,
        )

    assert result.value == 4
    assert " processes of up to " in alone["pool budget"].text
    assert "pool of process" not in alone["workers"].text


def test_wrong_feed_is_the_last_line(examined: Arrange, postgres: str) -> None:
    broken = last(examined(postgres, config="[market.feeds.us]\nno_such_key = 1\n"))

    assert (broken.layer, type(broken.error)) == ("feeds", ConfigurationError)
    assert "us" in broken.text


def test_newest_load_is_told_with_its_reason(examined: Arrange, postgres: str) -> None:
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO ops.loads (target, scope, window_key, resource, state, reason)"
            " VALUES ('t', 's', '2024-10-01', 't/s/2024-10-01', 'skipped', 'not_a_session')"
        )

    found = examined(postgres)

    assert "t/s/2024-10-01 skipped (not_a_session), 0 rows read" in found["newest load"].text


def last(found: dict[str, Finding]) -> Finding:
    return list(found.values())[-1]
