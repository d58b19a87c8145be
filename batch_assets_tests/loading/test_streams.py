"""Streams: parts of several tables, each in one transaction, each exactly once."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.errors import (
    InfrastructureError,
    LeaseHeld,
    LeaseLost,
    LedgerImbalance,
    SchemaMismatch,
)
from batch_assets.execution import failpoints
from batch_assets.loading.append import append_rows
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import Part, Stream, StreamOptions, open_stream
from batch_assets_tests.loading.synthetic import connector

READINGS = TableContract(
    target="public.readings",
    columns=pa.schema([("n", pa.int64()), ("value", pa.decimal128(10, 2))]),
    key=("n",),
    disposition=Disposition.APPEND,
)
NOTES = TableContract(
    target="public.notes",
    columns=pa.schema([("n", pa.int64()), ("note", pa.string())]),
    key=("n",),
    disposition=Disposition.APPEND,
)
SCOPE = Scope((("source", "s"),))
WINDOW = Window("live")
QUICK = StreamOptions(lease_seconds=1.0, lease_wait_seconds=0.3, first_wait_seconds=0.01)


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "CREATE TABLE readings (n bigint PRIMARY KEY, value numeric(10, 2), "
            "load_id bigint NOT NULL); "
            "CREATE TABLE notes (n bigint PRIMARY KEY, note text, load_id bigint NOT NULL)"
        )
    yield postgres
    failpoints.arm("")


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchall()  # type: ignore[call-overload]


def write(stream: Stream, *numbers: int, rejected: int = 0, read: int | None = None) -> Part:
    def part(conn: psycopg.Connection) -> Part:
        stored = append_rows(
            conn, READINGS, stream.load_id, [{"n": n, "value": Decimal(n)} for n in numbers]
        )
        append_rows(conn, NOTES, stream.load_id, [{"n": n} for n in numbers])
        violation = Violation("bad", "value", "x", "a number")
        return Part(
            Ledger(
                read=len(numbers) + rejected if read is None else read,
                inserted=stored,
                rejected=rejected,
            ),
            [RejectedRow(f"f{n}", 0, (violation,), {"n": str(n)}) for n in range(rejected)],
            position={"after": max(numbers, default=0)},
        )

    return stream.publish(part)


def test_parts_of_two_tables_add_up_in_one_load(database: str) -> None:
    with open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        write(stream, 1, 2)
        write(stream, 3, rejected=2)
        report = stream.close(LoadState.SUCCESS, metrics={"parts": 2})

    assert (report.ledger.read, report.ledger.inserted, report.ledger.rejected) == (5, 3, 2)
    assert rows(database, "SELECT count(*), count(note) FROM readings JOIN notes USING (n)") == [
        (3, 0)
    ]
    assert rows(
        database,
        "SELECT resource, state, rows_read, rows_inserted, rows_rejected, metrics->'parts' "
        "FROM ops.loads",
    ) == [("public.readings/s/live", "success", 5, 3, 2, 2)]
    assert rows(database, "SELECT count(*) FROM ops.dead_letters") == [(2,)]
    assert rows(database, "SELECT * FROM ops.leases") == []
    assert rows(database, "SELECT * FROM ops.checkpoints") == []


def test_next_load_continues_at_the_position_that_was_kept(database: str) -> None:
    with open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        first = dict(stream.resumed_from)
        write(stream, 1, 2)
        stream.close(LoadState.SUCCESS, keep_position=True)

    with open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        second = dict(stream.resumed_from)
        write(stream, 3)
        stream.close(LoadState.SUCCESS, keep_position=True)

    assert (first, second) == ({}, {"after": 2})
    assert rows(database, "SELECT chunk_no, position->'after' FROM ops.checkpoints") == [(1, 3)]


def run_and_die(url: str) -> None:
    with open_stream(connector(url), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        write(stream, 1)
        raise ZeroDivisionError("source died")


def test_failed_body_keeps_committed_parts_and_gives_the_stream_back(database: str) -> None:
    with pytest.raises(ZeroDivisionError):
        run_and_die(database)

    assert rows(database, "SELECT state, reason, rows_read, error_class FROM ops.loads") == [
        ("failed", "interrupted", 1, "ZeroDivisionError")
    ]
    assert rows(database, "SELECT * FROM ops.leases") == []
    assert rows(database, "SELECT position->'after' FROM ops.checkpoints") == [(1,)]


def test_part_that_does_not_balance_is_not_published(database: str) -> None:
    with (
        pytest.raises(LedgerImbalance, match="9 rows were read but 1"),
        open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream,
    ):
        write(stream, 1, read=9)

    assert rows(database, "SELECT count(*) FROM readings") == [(0,)]


@pytest.mark.parametrize("place", ["after_rows", "before_commit", "after_commit"])
def test_part_is_written_once_wherever_the_database_fails(database: str, place: str) -> None:
    failpoints.arm(f"stream.{place}=fail@2")

    with open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        for number in range(4):
            write(stream, number)
        stream.close(LoadState.SUCCESS)

    assert rows(database, "SELECT rows_read, rows_inserted FROM ops.loads") == [(4, 4)]
    assert rows(database, "SELECT count(*) FROM readings") == [(4,)]


def test_retries_are_bounded(database: str) -> None:
    failpoints.arm("stream.before_commit=fail")
    options = StreamOptions(retries=0)

    with (
        pytest.raises(InfrastructureError),
        open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, options) as stream,
    ):
        write(stream, 1)

    assert rows(database, "SELECT count(*) FROM readings") == [(0,)]


def test_broken_connection_is_replaced(database: str) -> None:
    with open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        write(stream, 1)
        first = stream.conn
        with psycopg.connect(database) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (first.info.backend_pid,))
        write(stream, 2)
        stream.close(LoadState.SUCCESS)

    assert stream.conn is not first
    assert rows(database, "SELECT rows_read FROM ops.loads") == [(2,)]


def lose_the_lease(url: str) -> None:
    with open_stream(connector(url), (READINGS, NOTES), SCOPE, WINDOW, QUICK) as stream:
        write(stream, 1)
        rows(url, "UPDATE ops.leases SET token = nextval('ops.lease_tokens') RETURNING token")
        write(stream, 2)


def test_stream_that_was_taken_over_publishes_nothing_more(database: str) -> None:
    with pytest.raises(LeaseLost):
        lose_the_lease(database)

    assert rows(database, "SELECT n FROM readings") == [(1,)]
    assert rows(database, "SELECT count(*) FROM ops.leases") == [(1,)]


def test_second_writer_is_told_who_writes(database: str) -> None:
    with (
        open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK),
        pytest.raises(LeaseHeld, match=r"public.readings/s/live is being written by .*:\d+"),
        open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK),
    ):
        pass


def test_table_that_differs_from_its_contract_is_refused(database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("ALTER TABLE notes ALTER n TYPE integer")

    with (
        pytest.raises(SchemaMismatch, match="'n' is int64"),
        open_stream(connector(database), (READINGS, NOTES), SCOPE, WINDOW, QUICK),
    ):
        pass

    assert rows(database, "SELECT * FROM ops.loads") == []
