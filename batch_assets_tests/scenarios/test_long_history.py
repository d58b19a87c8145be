"""Statements stay as quick after years of loads as on the first day."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from batch_assets_tests.loading.synthetic import connector, create_table, days, load, source_of
from batch_assets_tests.polling import wait_until

_FILL: tuple[LiteralString, ...] = (
    "INSERT INTO ops.loads (target, scope, window_key, resource, state, finished_at) "
    "SELECT 'public.prices', 'test', d::date::text, 'public.prices/test/' || d::date, 'success', "
    "now() "
    "FROM generate_series(timestamp '2015-01-01', '2021-11-05', '1 day') d, generate_series(1, 20)",
    "INSERT INTO ops.windows (target, scope, window_key, row_count, contract_version, load_id) "
    "SELECT 'public.prices', 'test', d::date::text, 400, 'x', row_number() OVER () "
    "FROM generate_series(timestamp '2015-01-01', '2021-11-05', '1 day') d",
    "INSERT INTO ops.dead_letters (fingerprint, load_id, target, scope, window_key, source_file, "
    "row_number, rule, violations, original) "
    "SELECT 'f' || n, n, 'public.prices', 'test', (date '2015-01-01' + n % 2500)::text, 'f', n, "
    "'r', '[]', '{}' FROM generate_series(1, 50000) n",
    "INSERT INTO prices (source, symbol, day, price, load_id) "
    "SELECT 'test', 'S' || s, date '2015-01-01' + d, 1, 1 "
    "FROM generate_series(0, 2499) d, generate_series(1, 400) s",
)


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    create_table(postgres)
    with connector(postgres)() as conn:
        conn.autocommit = True
        for table in ("prices", "ops.loads", "ops.windows", "ops.dead_letters"):
            conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        for statement in _FILL:
            conn.execute(statement)
        yield conn


def sequential_scans(conn: psycopg.Connection) -> dict[str, int]:
    """How often each of the tables that grow was read from end to end."""
    # A backend hands its counts over when it ends, a moment after its client has closed.
    wait_until(lambda: _backend_count(conn) == 1, "the loads' connections to end")
    conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = conn.execute(
        "SELECT relname, seq_scan FROM pg_stat_user_tables "
        "WHERE relname IN ('prices', 'loads', 'windows', 'dead_letters')"
    ).fetchall()
    return dict(rows)


def _scan_once(url: str) -> None:
    """Show that a scan by a connection that ends is seen by the counter below."""
    with connector(url)() as other:
        other.execute("SET enable_indexscan = off")
        other.execute("SET enable_indexonlyscan = off")
        other.execute("SET enable_bitmapscan = off")
        other.execute("SELECT count(*) FROM prices")


def _backend_count(conn: psycopg.Connection) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend'"
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.long
@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
def test_no_statement_of_a_load_reads_the_history(
    postgres: str, conn: psycopg.Connection, analyzed: bool
) -> None:
    if analyzed:
        conn.execute("ANALYZE")
    rows = [(f"S{number}", "2", None) for number in range(400)]
    known = source_of(rows, days(1)[0].replace(year=2020), source_hash="h")
    large = source_of(rows, days(1)[0].replace(year=2019), source_hash="h", batch_rows=50)
    untouched = sequential_scans(conn)
    _scan_once(postgres)
    before = sequential_scans(conn)
    # Parallel workers count their part of the scan too.
    assert before["prices"] > untouched["prices"], "scans are not counted"

    for force in (False, True):
        load(postgres, known, force=force, publish_connections=1)
        load(postgres, large, force=force, publish_connections=1, chunk_rows=100)

    assert sequential_scans(conn) == before
