"""Migrations against a real server."""

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from batch_assets.errors import DatabaseUnavailable, MigrationError
from batch_assets.postgres import migrate
from batch_assets.postgres.sql_files import Migration, migration_files
from batch_assets.settings import shipped_path

# A migration needs the ledger, which the first shipped file creates.
_FIRST = (shipped_path("sql") / "migrations" / "0001_create_ops.sql").read_text()

WriteFiles = Callable[..., tuple[Migration, ...]]


@pytest.fixture
def write_files(tmp_path: Path) -> WriteFiles:
    """Write migrations 0001 (the shipped one), 0002 … with the given texts."""

    def write(*texts: str) -> tuple[Migration, ...]:
        for number, text in enumerate((_FIRST, *texts), start=1):
            (tmp_path / f"{number:04d}_change_something.sql").write_text(text)
        return migration_files(tmp_path)

    return write


def _one(url: str, statement: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(statement).fetchone()  # type: ignore[call-overload]
        return row[0]


def test_migrating_twice_applies_everything_once(postgres_empty: str) -> None:
    first = migrate.apply_pending(postgres_empty)
    second = migrate.apply_pending(postgres_empty)

    assert first == list(migration_files())
    assert second == []
    assert migrate.read_status(postgres_empty).is_current


def test_dry_run_changes_nothing(postgres_empty: str) -> None:
    pending = migrate.apply_pending(postgres_empty, dry_run=True)

    assert pending == list(migration_files())
    assert _one(postgres_empty, "SELECT to_regnamespace('ops')") is None


def test_postgres_fixture_gives_a_migrated_database(postgres: str) -> None:
    assert migrate.read_status(postgres).is_current
    assert migrate.verify(postgres) == []


def test_eight_migrators_at_once_apply_everything_once(postgres_empty: str) -> None:
    applied: list[Migration] = []
    threads = [
        threading.Thread(target=lambda: applied.extend(migrate.apply_pending(postgres_empty)))
        for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert applied == list(migration_files())
    assert migrate.verify(postgres_empty) == []


def test_failed_migration_leaves_nothing_and_names_the_line(
    postgres_empty: str, write_files: WriteFiles
) -> None:
    files = write_files("CREATE TABLE ops.kept ();", "CREATE TABLE ops.lost ();\nSELECT nonsense;")

    with pytest.raises(MigrationError, match=r"0003_change_something\.sql line 2: .*nonsense"):
        migrate.apply_pending(postgres_empty, files=files)

    status = migrate.read_status(postgres_empty, files=files)
    assert [entry.version for entry in status.applied] == [1, 2]
    assert _one(postgres_empty, "SELECT to_regclass('ops.lost')") is None


def test_edited_migration_is_refused(postgres_empty: str, write_files: WriteFiles) -> None:
    migrate.apply_pending(postgres_empty, files=write_files("SELECT 1;"))
    edited = write_files("SELECT 2;", "SELECT 3;")

    with pytest.raises(MigrationError, match="an applied file is never edited"):
        migrate.apply_pending(postgres_empty, files=edited)

    assert not migrate.read_status(postgres_empty, files=edited).is_current


def test_database_newer_than_the_files_is_refused(
    postgres_empty: str, write_files: WriteFiles
) -> None:
    files = write_files("SELECT 1;", "SELECT 2;")
    migrate.apply_pending(postgres_empty, files=files)

    with pytest.raises(MigrationError, match="newer than this package, upgrade the package"):
        migrate.apply_pending(postgres_empty, files=files[:2])


def test_migration_left_out_is_refused(postgres_empty: str, write_files: WriteFiles) -> None:
    files = write_files("SELECT 1;", "SELECT 2;")
    migrate.apply_pending(postgres_empty, files=files)
    with psycopg.connect(postgres_empty) as conn:
        conn.execute("DELETE FROM ops.schema_migrations WHERE version = 2")

    with pytest.raises(MigrationError, match="was never applied although 0003 was"):
        migrate.apply_pending(postgres_empty, files=files)


def test_concurrent_index_is_built_while_another_migrator_waits(
    postgres_empty: str, write_files: WriteFiles
) -> None:
    files = write_files(
        "CREATE TABLE ops.large AS SELECT generate_series(1, 200000) AS n;",
        "-- migrate: no-transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS large_by_n ON ops.large (n);",
    )
    applied: list[Migration] = []
    threads = [
        threading.Thread(
            target=lambda: applied.extend(migrate.apply_pending(postgres_empty, files=files))
        )
        for _ in range(2)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert applied == list(files)
    assert _one(
        postgres_empty,
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ops.large_by_n'::regclass",
    )


def test_migration_gives_up_on_a_table_that_is_in_use(
    postgres_empty: str, write_files: WriteFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_TIMEOUTS", "SET lock_timeout = '100ms'")
    files = write_files("CREATE TABLE ops.busy ();", "ALTER TABLE ops.busy ADD COLUMN n integer;")
    migrate.apply_pending(postgres_empty, files=files[:2])

    with psycopg.connect(postgres_empty) as reader:
        reader.execute("SELECT FROM ops.busy")
        with pytest.raises(DatabaseUnavailable, match="lock timeout") as failure:
            migrate.apply_pending(postgres_empty, files=files)

    assert failure.value.sqlstate == "55P03"
    assert migrate.apply_pending(postgres_empty, files=files) == [files[2]]


def test_schema_of_somebody_else_is_not_taken_over(postgres_empty: str) -> None:
    with psycopg.connect(postgres_empty) as conn:
        conn.execute("CREATE SCHEMA ops")

    with pytest.raises(MigrationError, match='schema "ops" already exists'):
        migrate.apply_pending(postgres_empty)
