import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import dagster as dg
import psycopg
import pytest
from dagster._core.execution import asset_backfill
from dagster_postgres import PostgresRunStorage
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from batch_assets.errors import ConfigurationError
from batch_assets.ops.dagster_home import write_instance_file
from batch_assets.runs.instance_storage import SettingsPostgresStorage, storage_url
from batch_assets.settings import load_settings

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_database(postgres_empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database that the settings of this process point to."""
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)
    monkeypatch.setenv("BATCH_ASSETS_HOME", str(tmp_path / "state"))
    return postgres_empty


def test_storage_url_keeps_what_libpq_understands() -> None:
    settings = load_settings({}, working_dir=PROJECT)

    url = storage_url(
        "postgresql://me:p%40ss%2Fword@/data?host=/run/a%20b&port=5433&sslmode=disable", settings
    )

    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.database) == ("me", "p@ss/word", "data")
    assert url.query["host"] == "/run/a b"
    assert url.query["port"] == "5433"
    assert url.query["sslmode"] == "disable"


def test_storage_url_adds_the_schema_to_the_users_options() -> None:
    settings = load_settings({}, working_dir=PROJECT)

    url = storage_url("postgresql://h/d?options=-cwork_mem%3D8MB&application_name=mine", settings)

    assert url.query["options"] == "-cwork_mem=8MB -csearch_path=dagster"
    assert url.query["application_name"] == "mine"


def test_storage_url_does_not_show_the_password() -> None:
    settings = load_settings({}, working_dir=PROJECT)

    url = storage_url("host=h user=u password=secret dbname=d", settings)

    assert "secret" not in repr(url)


def test_storage_puts_its_tables_into_their_own_schema(own_database: str) -> None:
    SettingsPostgresStorage.from_config_value(None, {})

    with psycopg.connect(own_database) as conn:
        schemas = conn.execute(
            "SELECT DISTINCT schemaname FROM pg_tables"
            " WHERE tablename IN ('runs', 'event_logs', 'jobs')"
        ).fetchall()
    assert schemas == [("dagster",)]


def test_many_processes_may_create_the_storage_at_once(own_database: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(6)

    def create() -> None:
        together.wait()
        try:
            SettingsPostgresStorage.from_config_value(None, {})
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise to
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.fixture
def weak_role(own_database: str) -> Iterator[str]:
    """URL of the same database for a role that may only look."""
    role = f"weak_{secrets.token_hex(4)}"
    with psycopg.connect(own_database, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    parameters = {**conninfo_to_dict(own_database), "user": role, "password": "x"}
    yield f"postgresql://?{urlencode(parameters, quote_via=quote)}"
    with psycopg.connect(own_database, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_role_that_may_not_create_the_schema_is_told(
    weak_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", weak_role)

    with pytest.raises(ConfigurationError, match=r"may not create it.*grant CREATE"):
        SettingsPostgresStorage.from_config_value(None, {})


def test_shipped_instance_file_means_what_it_says(own_database: str) -> None:
    home = write_instance_file(load_settings())

    with dg.DagsterInstance.from_config(str(home)) as instance:
        concurrency = instance.get_concurrency_config()
        queue = concurrency.run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 6
        assert queue.max_user_code_failure_retries == 3
        assert [(limit["key"], limit["limit"]) for limit in queue.tag_concurrency_limits or []] == [
            ("batch_assets/feed", 2),
            ("batch_assets/documents", 2),
            ("batch_assets/devices", 1),
            ("dagster/backfill", 4),
        ]
        assert concurrency.pool_config.default_pool_limit == 4
        assert concurrency.pool_config.pool_granularity is not None
        assert concurrency.pool_config.pool_granularity.value == "op"
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_poll_interval_seconds == 15
        assert not instance.telemetry_enabled
        assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] == 30
        assert instance.code_server_process_startup_timeout == 180
        assert isinstance(instance.run_storage, PostgresRunStorage)


def test_a_restart_of_the_server_does_not_fail_who_asks_next(own_database: str) -> None:
    home = write_instance_file(load_settings())

    def ask(instance: dg.DagsterInstance) -> tuple[object, ...]:
        return (
            instance.get_runs_count(),
            instance.all_asset_keys(),
            instance.all_instigator_state(),
        )

    with dg.DagsterInstance.from_config(str(home)) as instance:
        # As the webserver does: from here on a connection is kept open for each storage.
        instance.optimize_for_webserver(statement_timeout=5_000, pool_recycle=3_600, max_overflow=2)
        before = ask(instance)
        with psycopg.connect(own_database, autocommit=True) as conn:
            ended = conn.execute(
                "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
                "WHERE application_name = 'batch_assets_dagster' AND datname = current_database()"
            ).fetchone()

        assert ask(instance) == before
        assert ended == (3,)


def test_a_backfill_waits_for_a_code_server_that_is_being_restarted(
    own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
    monkeypatch.setenv(name, "")
    SettingsPostgresStorage.from_config_value(None, {})
    assert os.environ[name] == "", "what somebody has set was changed"

    monkeypatch.delenv(name)
    SettingsPostgresStorage.from_config_value(None, {})

    # Read by Dagster's daemon, which then skips such a backfill instead of failing it.
    assert os.environ[name]
    assert name in Path(asset_backfill.__file__).read_text("utf-8")
