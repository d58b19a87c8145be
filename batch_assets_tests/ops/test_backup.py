from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import ConfigurationError, InfrastructureError
from batch_assets.ops.backup import restore_backup, write_backup
from batch_assets.ops.cli.main import run
from batch_assets.postgres.client_programs import find_program, run_program
from batch_assets.postgres.migrate import dump_schema, verify


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg.connect(url)) as conn:
        return conn.execute(statement).fetchall()


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement)


@pytest.fixture
def filled(postgres: str) -> str:
    """A migrated database with rows of ours and a table of somebody's own."""
    execute(postgres, "CREATE SCHEMA own; CREATE TABLE own.notes (id bigint PRIMARY KEY, t text)")
    execute(
        postgres, "INSERT INTO own.notes SELECT n, 'Größe ' || n FROM generate_series(1, 500) n"
    )
    execute(
        postgres,
        "INSERT INTO ops.api_tokens (name, scope, secret_sha256) "
        "SELECT 'token ' || n, 'read', sha256(n::text::bytea) FROM generate_series(1, 20) AS n",
    )
    return postgres


def test_a_restored_database_is_the_one_that_was_backed_up(
    filled: str,
    postgres_empty: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "backup.dump"
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", filled)
    assert run(["db", "backup", str(file)]) == 0
    assert file.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("BATCH_ASSETS_DATABASE_URL", postgres_empty)

    assert run(["db", "restore", str(file)]) == 0

    assert "next:" not in capsys.readouterr().err
    assert dump_schema(postgres_empty) == dump_schema(filled)
    assert verify(postgres_empty) == []
    for table in ("own.notes", "ops.api_tokens", "ops.schema_migrations"):
        statement = f"SELECT * FROM {table} ORDER BY 1"
        assert rows(postgres_empty, statement) == rows(filled, statement) != []
    # Identities go on where they were.
    execute(
        postgres_empty,
        "INSERT INTO ops.api_tokens (name, scope, secret_sha256) VALUES ('b', 'read', sha256(''))",
    )


def test_a_backup_never_replaces_a_file(postgres: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.dump"
    file.write_text("yesterday's")

    with pytest.raises(ConfigurationError, match="exists, expected a new file"):
        write_backup(postgres, file)

    assert file.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [file]


def test_a_database_with_tables_is_never_restored_over(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.dump"
    write_backup(filled, file)

    with pytest.raises(ConfigurationError, match="expected one without tables; create another"):
        restore_backup(filled, file)

    assert rows(filled, "SELECT count(*) FROM own.notes") == [(500,)]


def test_a_backup_that_was_cut_off_leaves_the_database_empty(
    filled: str, postgres_empty: str, tmp_path: Path
) -> None:
    file = tmp_path / "backup.dump"
    # Hardly to be compressed, so that the end of the file is data.
    execute(
        filled,
        "INSERT INTO own.notes SELECT n, sha512(n::text::bytea)::text FROM "
        "generate_series(1000, 9000) AS n",
    )
    write_backup(filled, file)
    file.write_bytes(file.read_bytes()[:-2000])

    with pytest.raises(InfrastructureError, match="pg_restore"):
        restore_backup(postgres_empty, file)

    assert rows(postgres_empty, "SELECT to_regclass('own.notes'), to_regclass('ops.loads')") == [
        (None, None)
    ]


def test_a_program_that_is_older_than_the_server_is_not_taken() -> None:
    assert find_program("pg_dump", 14).name == "pg_dump"

    with pytest.raises(ConfigurationError, match="postgresql-client-99"):
        find_program("pg_dump", 99)


def test_the_password_is_no_argument_of_the_program(tmp_path: Path) -> None:
    program = tmp_path / "pg_shown"
    program.write_text('#!/bin/sh\necho "seen: $* in $PGPASSWORD" >&2\nexit 1\n')
    program.chmod(0o700)

    with pytest.raises(InfrastructureError) as failed:
        run_program(program, ["--first"], "postgresql://ann:se%40cret@host/data")

    assert "seen: --first --dbname=user=ann" in str(failed.value)
    assert "in se@cret" in str(failed.value)
    assert "se@cret" not in str(failed.value).partition(" in ")[0]
