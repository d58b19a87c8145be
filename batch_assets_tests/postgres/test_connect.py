"""Connections: timeouts, the database they lead to, and the translation of driver errors."""

import threading
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg_errors
from pydantic import SecretStr

from batch_assets.errors import ConfigurationError, DatabaseUnavailable
from batch_assets.postgres import connect as connect_module
from batch_assets.postgres import embedded
from batch_assets.postgres.connect import (
    connect,
    create_database,
    database_url,
    translating_errors,
)
from batch_assets.settings import DatabaseSettings, LoadingSettings, Settings
from batch_assets_tests.conftest import PostgresServer, database_name


def _settings(state_dir: Path, url: str | None = None) -> Settings:
    return Settings(
        config_file=state_dir / "batch_assets.toml",
        state_dir=state_dir,
        database=DatabaseSettings(url=SecretStr(url) if url else None),
        loading=LoadingSettings(),
        sections={},
    )


def _show(conn: psycopg.Connection, name: str) -> object:
    row = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return row[0]


def test_connection_has_a_name_and_limits(postgres_empty: str) -> None:
    options = DatabaseSettings(lock_timeout_seconds=0.25, statement_timeout_seconds=90)

    with connect(postgres_empty, application_name="batch_assets test", options=options) as conn:
        assert _show(conn, "application_name") == "batch_assets test"
        assert _show(conn, "lock_timeout") == "250ms"
        assert _show(conn, "statement_timeout") == "90s"
        assert _show(conn, "idle_in_transaction_session_timeout") == "10min"
        assert _show(conn, "TimeZone") == "UTC"
        assert _show(conn, "client_encoding") == "UTF8"
        assert not conn.autocommit


def test_peer_that_vanishes_is_noticed(postgres_empty: str) -> None:
    with connect(postgres_empty, application_name="batch_assets test") as conn:
        parameters = conn.info.get_parameters()

    assert parameters["keepalives"] == "1"
    assert parameters["keepalives_idle"] == "30"
    assert parameters["tcp_user_timeout"] == "60000"
    assert parameters["connect_timeout"] == "10"


def test_settings_in_the_url_win(postgres_empty: str) -> None:
    url = f"{postgres_empty}&application_name=mine&options=-c%20lock_timeout%3D7s"

    with connect(url, application_name="batch_assets test") as conn:
        assert _show(conn, "application_name") == "mine"
        assert _show(conn, "lock_timeout") == "7s"
        assert _show(conn, "statement_timeout") == "1h"


def test_configured_database_is_used_as_it_is(tmp_path: Path) -> None:
    url = "postgresql://me:secret@db.example/mine"

    assert database_url(_settings(tmp_path, url)) == url
    assert embedded.server_status(tmp_path).state == "absent"


def test_without_configuration_the_embedded_server_is_used(tmp_path: Path) -> None:
    url = database_url(_settings(tmp_path))

    assert database_url(_settings(tmp_path)) == url
    with connect(url, application_name="batch_assets test") as conn:
        assert conn.info.dbname == "batch_assets"
    embedded.remove_server(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg2://me:hush@host/db", "mysql://me:hush@host/db", "host=x password=hush"],
)
def test_url_of_something_else_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="does not start with postgresql://") as failure:
        database_url(_settings(tmp_path, url))

    assert "hush" not in str(failure.value)


def test_unreadable_url_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="percent-encoded") as failure:
        database_url(_settings(tmp_path, "postgresql://me:hush%zz@host:5432/db"))

    assert "hush" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="batch-assets doctor") as failure:
        connect(f"postgresql://me:hush@/db?host={tmp_path}", application_name="batch_assets test")

    assert failure.value.retryable
    assert "hush" not in str(failure.value)


def test_old_server_is_refused(postgres_empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "OLDEST_SERVER_VERSION", 990000)

    with pytest.raises(ConfigurationError, match="expected 14 or newer"):
        connect(postgres_empty, application_name="batch_assets test")


def test_several_processes_may_create_the_same_database(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    name = database_name(url)
    postgres_server.drop_database(url)
    threads = [
        threading.Thread(target=create_database, args=(postgres_server.url, name)) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with connect(url, application_name="batch_assets test") as conn:
        assert conn.info.dbname == name
    postgres_server.drop_database(url)


def test_ended_backend_is_unavailable_and_keeps_its_code(postgres_empty: str) -> None:
    victim = connect(postgres_empty, application_name="batch_assets test")
    with psycopg.connect(postgres_empty) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [victim.info.backend_pid])

    with pytest.raises(DatabaseUnavailable) as failure, translating_errors():
        victim.execute("SELECT 1")

    assert failure.value.sqlstate == "57P01"
    with pytest.raises(DatabaseUnavailable), translating_errors():
        victim.execute("SELECT 1")
    victim.close()


def test_deadlock_is_unavailable_and_keeps_its_code(postgres_empty: str) -> None:
    with (
        connect(postgres_empty, application_name="batch_assets one") as one,
        connect(postgres_empty, application_name="batch_assets two") as two,
    ):
        one.execute("SELECT pg_advisory_xact_lock(1)")
        two.execute("SELECT pg_advisory_xact_lock(2)")
        failures: list[DatabaseUnavailable] = []

        def lock(conn: psycopg.Connection, key: int) -> None:
            try:
                with translating_errors():
                    conn.execute("SELECT pg_advisory_xact_lock(%s)", [key])
            except DatabaseUnavailable as error:
                failures.append(error)
                conn.rollback()

        threads = [
            threading.Thread(target=lock, args=arguments) for arguments in ((one, 2), (two, 1))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [failure.sqlstate for failure in failures] == ["40P01"]


def test_serialization_failure_is_unavailable(postgres_empty: str) -> None:
    with (
        connect(postgres_empty, application_name="batch_assets one") as one,
        connect(postgres_empty, application_name="batch_assets two", autocommit=True) as two,
    ):
        two.execute("CREATE TABLE counters AS SELECT 1 AS n")
        one.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        one.execute("SELECT n FROM counters")
        two.execute("UPDATE counters SET n = 2")

        with pytest.raises(DatabaseUnavailable) as failure, translating_errors():
            one.execute("UPDATE counters SET n = 3")

    assert failure.value.sqlstate == "40001"


def test_standby_is_unavailable(postgres_empty: str) -> None:
    with connect(postgres_empty, application_name="batch_assets test") as conn:
        conn.execute("SET TRANSACTION READ ONLY")

        with pytest.raises(DatabaseUnavailable) as failure, translating_errors():
            conn.execute("CREATE TABLE refused ()")

    assert failure.value.sqlstate == "25006"


def test_errors_of_statements_and_data_pass_unchanged(postgres_empty: str) -> None:
    with connect(postgres_empty, application_name="batch_assets test", autocommit=True) as conn:
        with pytest.raises(pg_errors.UndefinedTable), translating_errors():
            conn.execute("SELECT FROM nowhere")
        with pytest.raises(pg_errors.NumericValueOutOfRange), translating_errors():
            conn.execute("SELECT 99999999999::integer")
