"""Migrations against a real server."""

import psycopg

from batch_assets.postgres import migrate
from batch_assets.postgres.sql_files import migration_files


def test_migrating_twice_applies_everything_once(postgres_empty: str) -> None:
    first = migrate.apply_pending(postgres_empty)
    second = migrate.apply_pending(postgres_empty)

    assert first == list(migration_files())
    assert second == []
    assert migrate.read_status(postgres_empty).is_current


def test_dry_run_changes_nothing(postgres_empty: str) -> None:
    pending = migrate.apply_pending(postgres_empty, dry_run=True)

    assert pending == list(migration_files())
    with psycopg.connect(postgres_empty) as conn:
        assert conn.execute("SELECT to_regnamespace('ops')").fetchone() == (None,)


def test_postgres_fixture_gives_a_migrated_database(postgres: str) -> None:
    assert migrate.read_status(postgres).is_current
