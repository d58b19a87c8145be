"""Former versions of rows, and what was known when."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_assets.contracts.disposition import Disposition
from batch_assets.errors import SchemaMismatch
from batch_assets.loading.prepare import RejectLimit
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    DAY,
    connector,
    create_table,
    load,
    many_rows,
    source_of,
)

KEEPING = replace(CONTRACT, history_table="public.prices_history")
EXACT = replace(KEEPING, disposition=Disposition.REPLACE)
LENIENT = RejectLimit(rows=1_000, ratio=1.0)

_VERSIONS = """
    SELECT symbol, price, revision, known_from, known_to, superseded_by, load_id
    FROM prices_history ORDER BY symbol, superseded_by
"""
_AS_OF = """
    SELECT symbol, price FROM (
        SELECT p.symbol, p.price, l.known_at AS known_from, timestamptz 'infinity' AS known_to
        FROM prices AS p JOIN ops.loads AS l USING (load_id)
        UNION ALL
        SELECT symbol, price, known_from, known_to FROM prices_history) AS versions
    WHERE known_from <= %(at)s AND %(at)s < known_to ORDER BY symbol
"""


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    with connector(postgres)() as conn:
        conn.execute(
            'CREATE TABLE public.prices_history (source text NOT NULL, symbol text COLLATE "C",'
            " day date NOT NULL, price numeric(20, 6), note text, revision integer NOT NULL,"
            " load_id bigint NOT NULL, known_from timestamptz NOT NULL,"
            " known_to timestamptz NOT NULL, superseded_by bigint NOT NULL,"
            " PRIMARY KEY (source, day, symbol, superseded_by),"
            " CHECK (known_from <= known_to))"
        )
    return postgres


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connector(database)() as conn:
        conn.autocommit = True
        yield conn


def known_at(conn: psycopg.Connection, load_id: int) -> datetime:
    [instant] = conn.execute(
        "SELECT known_at FROM ops.loads WHERE load_id = %s", (load_id,)
    ).fetchone()
    return instant


def test_first_load_and_unchanged_rows_leave_no_history(
    database: str, conn: psycopg.Connection
) -> None:
    rows = [("A", "1", None), ("B", "2", None)]

    load(database, source_of(rows), contract=KEEPING)
    load(database, source_of(rows), contract=KEEPING, force=True)
    load(database, source_of([*rows, ("C", "3", None)]), contract=KEEPING)

    assert conn.execute(_VERSIONS).fetchall() == []


@pytest.mark.parametrize("chunk_rows", [65_536, 2], ids=["in memory", "in chunks"])
def test_changed_row_keeps_its_old_version_with_the_time_it_was_known(
    database: str, conn: psycopg.Connection, chunk_rows: int
) -> None:
    rows = [("A", "1", None), ("B", "2", None), ("C", "3", None)]
    [first] = load(database, source_of(rows), contract=KEEPING, chunk_rows=chunk_rows)

    rows[1] = ("B", "2.5", None)
    [second] = load(database, source_of(rows), contract=KEEPING, chunk_rows=chunk_rows)

    began, ended = known_at(conn, first.load_id), known_at(conn, second.load_id)
    assert began < ended
    assert conn.execute(_VERSIONS).fetchall() == [
        ("B", Decimal(2), 1, began, ended, second.load_id, first.load_id)
    ]
    assert conn.execute(_AS_OF, {"at": began}).fetchall()[1] == ("B", Decimal(2))
    before = ended - timedelta(microseconds=1)
    assert conn.execute(_AS_OF, {"at": before}).fetchall()[1] == ("B", Decimal(2))
    assert conn.execute(_AS_OF, {"at": ended}).fetchall()[1] == ("B", Decimal("2.5"))
    assert conn.execute(_AS_OF, {"at": began - timedelta(seconds=1)}).fetchall() == []


def test_row_that_its_source_no_longer_has_stays_known_for_the_time_it_was(
    database: str, conn: psycopg.Connection
) -> None:
    [first] = load(database, source_of([("A", "1", None), ("B", "2", None)]), contract=EXACT)
    [second] = load(database, source_of([("A", "1", None)]), contract=EXACT)
    [third] = load(database, source_of([("A", "1", None), ("B", "2", None)]), contract=EXACT)

    known = [
        [row[0] for row in conn.execute(_AS_OF, {"at": known_at(conn, report.load_id)})]
        for report in (first, second, third)
    ]
    assert known == [["A", "B"], ["A"], ["A", "B"]]


def test_rows_that_no_known_load_wrote_were_known_for_ever(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute(
        "INSERT INTO prices (source, symbol, day, price, load_id) VALUES ('test', 'A', %s, 1, 0)",
        (DAY,),
    )

    load(database, source_of([("A", "2", None)]), contract=KEEPING)

    [begins] = conn.execute("SELECT known_from = '-infinity' FROM prices_history").fetchone()
    assert begins


def test_failed_load_keeps_nothing(database: str, conn: psycopg.Connection) -> None:
    load(database, source_of([("A", "1", None), ("B", "1", None)]), contract=KEEPING)
    conn.execute("ALTER TABLE prices ADD CONSTRAINT small CHECK (price < 100)")

    [report] = load(database, source_of([("A", "2", None), ("B", "200", None)]), contract=KEEPING)

    assert report.error is not None
    assert conn.execute(_VERSIONS).fetchall() == []


def test_history_without_the_columns_of_its_table_is_refused_before_reading(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute("ALTER TABLE prices_history DROP COLUMN note, ALTER price TYPE numeric(20, 4)")

    with pytest.raises(SchemaMismatch) as caught:
        load(database, source_of([("A", "1", None)]), contract=KEEPING)

    assert "'price' is numeric(20,4), expected numeric(20,6)" in str(caught.value)
    assert "'note' is absent, expected text" in str(caught.value)


@pytest.mark.parametrize("disposition", [Disposition.MERGE, Disposition.REPLACE])
@pytest.mark.parametrize("chunk_rows", [65_536, 3], ids=["in memory", "in chunks"])
def test_any_sequence_of_loads_can_be_asked_for_what_was_known(
    database: str, conn: psycopg.Connection, disposition: Disposition, chunk_rows: int
) -> None:
    contract = replace(KEEPING, disposition=disposition)
    row = st.tuples(st.sampled_from("ABCDE"), st.sampled_from(["1", "2.5", "0"]), st.none())
    rows = st.lists(row, max_size=5, unique_by=lambda row: row[0])

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(rows, min_size=1, max_size=5))
    def check(loads: list[list[tuple[str, str, None]]]) -> None:
        conn.execute("TRUNCATE prices, prices_history, ops.windows, ops.loads")
        kept: dict[str, Decimal] = {}
        seen: list[tuple[int, dict[str, Decimal]]] = []
        for rows in loads:
            [report] = load(
                database,
                source_of(rows, batch_rows=2),
                contract=contract,
                chunk_rows=chunk_rows,
                reject_limit=LENIENT,
            )
            if rows and disposition is Disposition.REPLACE:
                kept = {}
            kept = kept | {symbol: Decimal(price) for symbol, price, _ in rows}
            if rows:
                seen.append((report.load_id, kept))
        for load_id, expected in seen:
            at = known_at(conn, load_id)
            assert dict(conn.execute(_AS_OF, {"at": at}).fetchall()) == expected

    check()


def test_bars_are_asked_for_as_of_an_instant_through_the_indexes(
    conn: psycopg.Connection,
) -> None:
    early, late = datetime(2024, 9, 30, 12, tzinfo=UTC), datetime(2024, 10, 8, 12, tzinfo=UTC)
    [[first], [second]] = conn.execute(
        "INSERT INTO ops.loads (target, window_key, resource, state, known_at)"
        " SELECT 'market.daily_bars', '2024-09-30', 'r', 'success', k"
        " FROM unnest(%s::timestamptz[]) AS k RETURNING load_id",
        ([early, late],),
    ).fetchall()
    conn.execute(
        "INSERT INTO market.daily_bars (source, symbol, trade_date, close, volume, revision,"
        " load_id) VALUES ('cn', 'A', '2024-09-30', 11, 1, 2, %s), ('cn', 'B', '2024-09-30', 7, 1,"
        " 1, %s)",
        (second, first),
    )
    conn.execute(
        "INSERT INTO market.daily_bars_history (source, symbol, trade_date, close, volume,"
        " adjustment, status, revision, load_id, known_from, known_to, superseded_by) VALUES"
        " ('cn', 'A', '2024-09-30', 10, 1, 'raw', 'traded', 1, %s, %s, %s, %s)",
        (first, early, late, second),
    )

    def closes(at: datetime) -> list[tuple[str, Decimal, int]]:
        return conn.execute(
            "SELECT symbol, close, revision FROM market.daily_bars_as_of(%s)"
            " WHERE source = 'cn' AND trade_date = '2024-09-30' ORDER BY symbol",
            (at,),
        ).fetchall()

    assert closes(early) == [("A", 10, 1), ("B", 7, 1)]
    assert closes(late) == [("A", 11, 2), ("B", 7, 1)]
    assert closes(early - timedelta(seconds=1)) == []
    plan = "\n".join(
        line
        for [line] in conn.execute(
            "EXPLAIN SELECT * FROM market.daily_bars_as_of(now())"
            " WHERE source = 'cn' AND trade_date = '2024-09-30'"
        )
    )
    assert "Function Scan" not in plan
    assert "daily_bars_2024_pkey" in plan
    assert "daily_bars_2023" not in plan
    assert "daily_bars_history_pkey" in plan


def test_history_costs_in_proportion_to_what_changed(
    database: str, conn: psycopg.Connection, quiet_postgres: str
) -> None:
    rows = many_rows(20_000)
    load(database, source_of(rows), contract=KEEPING)
    # The first look after a load writes hint bits, and with them whole pages.
    load(database, source_of(rows), contract=KEEPING, force=True)
    [before] = conn.execute("SELECT pg_current_wal_lsn()").fetchone()

    changed = [*((name, "2", None) for name, _, _ in rows[:20]), *rows[20:]]
    [report] = load(database, source_of(changed), contract=KEEPING)

    assert report.ledger.updated == 20
    [wal] = conn.execute("SELECT pg_current_wal_lsn() - %s::pg_lsn", (before,)).fetchone()
    # 20,000 rows rewritten would be several megabytes.
    assert wal < 200_000
