"""The generated schema, and what `verify` finds."""

import psycopg
import pytest

from batch_assets.postgres import migrate
from batch_assets.postgres.sql_files import read_schema_file

_ADVICE = "run python -m batch_assets_tests.postgres.write_schema_file"


def test_schema_file_is_what_the_migrations_make(postgres: str) -> None:
    assert migrate.dump_schema(postgres) == read_schema_file(), _ADVICE


def test_schema_file_recreates_the_schema(postgres_empty: str) -> None:
    with psycopg.connect(postgres_empty) as conn:
        conn.execute(read_schema_file())  # type: ignore[call-overload]

    assert migrate.dump_schema(postgres_empty) == read_schema_file()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            "ALTER TABLE ops.audit ALTER action TYPE varchar(9)",
            "changed: CREATE TABLE ops.audit: "
            "expected action text NOT NULL; found action character varying(9) NOT NULL",
        ),
        (
            "DROP INDEX ops.loads_running",
            "missing: CREATE INDEX loads_running ON ops.loads "
            "USING btree (resource) WHERE (state = 'running'::text)",
        ),
        ("CREATE TABLE ops.extra (n integer)", "unexpected: CREATE TABLE ops.extra"),
        ("CREATE VIEW ops.seen AS SELECT 1 AS n", "unexpected: CREATE VIEW ops.seen AS"),
        (
            "DROP TABLE market.daily_bars_later",
            "missing: CREATE TABLE market.daily_bars_later "
            "PARTITION OF market.daily_bars FOR VALUES FROM ('2040-01-01') TO (MAXVALUE)",
        ),
        (
            "ALTER TABLE ops.leases SET (fillfactor = 50)",
            "changed: CREATE TABLE ops.leases: expected ); found ) WITH (fillfactor=50)",
        ),
    ],
    ids=["column", "index", "table", "view", "partition", "storage"],
)
def test_verify_names_what_a_person_changed(postgres: str, change: str, difference: str) -> None:
    with psycopg.connect(postgres) as conn:
        conn.execute(change)  # type: ignore[call-overload]

    assert difference in migrate.verify(postgres)


def test_staging_tables_of_running_loads_are_no_difference(postgres: str) -> None:
    with psycopg.connect(postgres) as conn:
        conn.execute("CREATE TABLE staging.some_load (n integer)")

    assert migrate.verify(postgres) == []


def test_verify_of_an_empty_database_lists_what_is_pending(postgres_empty: str) -> None:
    assert migrate.verify(postgres_empty)[0] == "pending: 0001_create_ops.sql"
