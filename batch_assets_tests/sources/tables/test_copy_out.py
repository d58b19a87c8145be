"""COPY TO as buffers: all of them, none after an error, and an end for whoever stops early."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from batch_assets.errors import UnreadableSource
from batch_assets.postgres.result_columns import describe_statement
from batch_assets.sources.tables.copy_out import CopyOut
from batch_assets.sources.tables.decode import prepare_session, read_arrow

SERIES = sql.SQL("SELECT g, 'row ' || g AS name FROM generate_series(1, {}) AS g")


@contextmanager
def unguarded() -> Iterator[None]:
    yield


@pytest.fixture
def conn(postgres_empty: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_empty) as opened:
        prepare_session(opened)
        opened.commit()
        yield opened


def test_stream_is_whole_and_counted_by_the_server(conn: psycopg.Connection) -> None:
    copy = CopyOut(conn, SERIES.format(100_000), unguarded, "csv")

    text = b"".join(copy)

    assert text.count(b"\n") == copy.rows == 100_000
    assert text.endswith(b"100000,row 100000\n")


@pytest.mark.long
def test_whoever_stops_early_gets_the_connection_back(conn: psycopg.Connection) -> None:
    copy = CopyOut(conn, SERIES.format(50_000_000), unguarded)

    next(iter(copy))
    copy.close()
    conn.rollback()

    assert conn.execute("SELECT 1").fetchone() == (1,)
    assert "copy-out" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    "statement", ["SELECT 1 / 0", "SELECT 1 / (g - 70000) FROM generate_series(1, 90000) AS g"]
)
def test_error_of_the_source_is_raised_before_and_within_the_rows(
    conn: psycopg.Connection, statement: str
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(CopyOut(conn, sql.SQL(statement), unguarded))

    conn.rollback()
    assert conn.execute("SELECT 1").fetchone() == (1,)


def decoded(conn: psycopg.Connection, text: str) -> pa.Table:
    statement = sql.SQL(text)
    columns = describe_statement(conn, statement)
    return pa.Table.from_batches(read_arrow(CopyOut(conn, statement, unguarded, "csv"), columns))


def test_null_and_empty_text_and_line_ends_are_told_apart(conn: psycopg.Connection) -> None:
    table = decoded(
        conn,
        r"""SELECT * FROM (VALUES (1, ''), (2, NULL), (3, E'a "b",\nc\r\n'), (4, 'é'))"""
        " AS v (a, b)",
    )

    assert table["b"].to_pylist() == ["", None, 'a "b",\nc\r\n', "é"]


def test_values_are_exact(conn: psycopg.Connection) -> None:
    table = decoded(
        conn,
        "SELECT 12345678901234.567891::numeric(20, 6) AS n, 0.1::float8 + 0.2 AS f, "
        "TIMESTAMPTZ '2024-01-01 12:00:00.123456+08' AS t, TRUE AS yes, "
        "'\\x00ff'::bytea AS raw, 9223372036854775807 AS big, ARRAY[1, NULL] AS list",
    )

    row = {name: str(value) for name, value in table.to_pylist()[0].items()}
    assert row == {
        "n": "12345678901234.567891",
        "f": "0.30000000000000004",
        "t": "2024-01-01 04:00:00.123456+00:00",
        "yes": "True",
        "raw": "b'\\x00\\xff'",
        "big": "9223372036854775807",
        "list": "{1,NULL}",
    }


def test_values_that_arrow_cannot_hold_say_so(conn: psycopg.Connection) -> None:
    with pytest.raises(UnreadableSource, match="cast the column to text"):
        decoded(conn, "SELECT 'infinity'::date AS d")


def test_no_rows_are_no_batches(conn: psycopg.Connection) -> None:
    statement = sql.SQL("SELECT 1 AS a WHERE FALSE")
    columns = describe_statement(conn, statement)

    assert list(read_arrow(CopyOut(conn, statement, unguarded, "csv"), columns)) == []
