"""Leases: one writer per window, fencing, heartbeats and takeovers."""

import multiprocessing
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from batch_assets.contracts.batch import SourceBatch
from batch_assets.errors import DatabaseUnavailable, LeaseHeld, LeaseLost
from batch_assets.loading.leases import (
    Heartbeat,
    Holder,
    acquire_leases,
    drop_leases,
    release_leases,
    require_leases,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.load import load_windows
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets_tests.loading.synthetic import (
    CONTRACT,
    DAY,
    SCOPE,
    Row,
    connector,
    create_table,
    days,
    load,
    many_rows,
    rows_of,
    source_of,
)
from batch_assets_tests.polling import wait_until

RESOURCE = f"public.prices/test/{DAY}"


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with connector(database)() as conn:
        conn.autocommit = True
        yield conn


def take(conn: psycopg.Connection, seconds: float = 60.0, name: str = RESOURCE) -> dict[str, int]:
    return acquire_leases(conn, [name], holder=Holder("test"), lease_seconds=seconds)


def expire(conn: psycopg.Connection) -> None:
    """Let every lease run out, as after a long silence."""
    conn.execute("UPDATE ops.leases SET expires_at = clock_timestamp() - interval '1 second'")


def test_a_held_lease_is_not_given_to_a_second_holder(database: str) -> None:
    with connector(database)() as first, connector(database)() as second:
        tokens = take(first)
        first.commit()

        assert tokens.keys() == {RESOURCE}
        assert take(second) == {}


def test_a_token_that_was_taken_over_is_refused(database: str, conn: psycopg.Connection) -> None:
    with connector(database)() as first:
        old = take(first)
        first.commit()
        # The holder's connection is another one now, so that it outlives the takeover.
        conn.execute("UPDATE ops.leases SET backend_pid = 0")
        expire(conn)

        new = take(conn)

        assert new[RESOURCE] > old[RESOURCE]
        for check in (require_leases, release_leases):
            with pytest.raises(LeaseLost, match=r"lease on public.prices/test/\S+ was taken over"):
                check(first, old)
            first.rollback()
        drop_leases(first, old)
        first.commit()
        release_leases(conn, new)


def test_a_takeover_ends_the_backend_of_the_old_holder(
    database: str, conn: psycopg.Connection
) -> None:
    with closing(connector(database)()) as old:
        take(old)
        old.commit()
        old.execute("INSERT INTO prices (source, symbol, day, load_id) VALUES ('x', 'x', now(), 1)")
        expire(conn)

        assert take(conn).keys() == {RESOURCE}

        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            old.execute("SELECT 1")
    assert rows_of(database) == []


def test_a_takeover_spares_a_backend_that_only_has_the_same_number(
    database: str, conn: psycopg.Connection
) -> None:
    with connector(database)() as innocent:
        take(innocent)
        innocent.commit()
        conn.execute("UPDATE ops.leases SET backend_start = backend_start - interval '1 hour'")
        expire(conn)

        take(conn)

        assert innocent.execute("SELECT 1").fetchone() == (1,)


def test_a_heartbeat_keeps_a_lease_beyond_its_seconds(
    database: str, conn: psycopg.Connection
) -> None:
    with Heartbeat(connector(database), 0.6) as heartbeat:
        tokens = take(conn, seconds=0.6)
        heartbeat.add(tokens)
        wait_until(lambda: _age_seconds(conn) > 1.5, "a lease older than twice its seconds")

        with connector(database)() as other:
            assert take(other) == {}
        heartbeat.remove(tokens)


def test_a_heartbeat_passes_a_publisher_that_holds_its_leases(
    database: str, conn: psycopg.Connection
) -> None:
    with connector(database)() as publisher:
        tokens = take(publisher, seconds=0.6)
        publisher.commit()
        require_leases(publisher, tokens)
        with Heartbeat(connector(database), 0.6) as heartbeat:
            heartbeat.add(tokens)
            wait_until(lambda: _age_seconds(conn) > 1.5, "a lease older than twice its seconds")

            release_leases(publisher, tokens)
            publisher.commit()

    assert conn.execute("SELECT count(*) FROM ops.leases").fetchone() == (0,)


def test_a_heartbeat_leaves_out_a_lease_that_is_being_released(
    database: str, conn: psycopg.Connection
) -> None:
    other = "public.prices/test/other"
    with connector(database)() as publisher:
        tokens = take(publisher, seconds=0.6)
        kept = take(publisher, seconds=0.6, name=other)
        publisher.commit()
        release_leases(publisher, tokens)
        with Heartbeat(connector(database), 0.6) as heartbeat:
            heartbeat.add({**tokens, **kept})
            wait_until(lambda: _age_seconds(conn, other) > 1.5, "the other lease was renewed")
        publisher.rollback()


def test_a_heartbeat_connects_again_after_its_backend_was_ended(
    database: str, conn: psycopg.Connection
) -> None:
    pids: list[int] = []

    def connect() -> psycopg.Connection:
        beating = connector(database)()
        pids.append(beating.info.backend_pid)
        return beating

    with Heartbeat(connect, 0.6) as heartbeat:
        heartbeat.add(take(conn, seconds=30))
        wait_until(lambda: pids, "the first beat")
        conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pids[0],))
        wait_until(lambda: len(pids) > 1, "a second connection of the heartbeat")


def test_who_only_asks_for_a_lease_does_not_delay_its_holder(
    database: str, conn: psycopg.Connection
) -> None:
    with connector(database)() as holder, connector(database)() as asking:
        tokens = take(holder)
        holder.commit()

        assert take(asking) == {}
        conn.execute("SET lock_timeout = '2s'")
        require_leases(conn, tokens)
        release_leases(conn, tokens)


def test_a_window_that_is_being_released_is_held_and_nobody_waits_for_its_row(
    database: str,
) -> None:
    with connector(database)() as holder:
        tokens = take(holder)
        holder.commit()
        release_leases(holder, tokens)
        started = time.monotonic()

        [report] = load(database, source_of(many_rows(5)), lease_wait_seconds=0.0)

        assert isinstance(report.error, LeaseHeld)
        # A wait would be that of lock_timeout or longer; the rest is for a busy machine.
        assert time.monotonic() - started < 25
        holder.rollback()


def test_a_stopped_holder_that_was_releasing_is_taken_over(
    database: str, conn: psycopg.Connection
) -> None:
    with closing(connector(database)()) as holder:
        tokens = take(holder, seconds=0.5)
        holder.commit()
        release_leases(holder, tokens)

        [report] = load(database, source_of(many_rows(5)), lease_wait_seconds=20.0)

    assert report.ledger == Ledger(read=5, inserted=5)


def test_a_beat_is_over_when_it_is_sent(database: str, conn: psycopg.Connection) -> None:
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        opened.append(connector(database)())
        return opened[-1]

    with Heartbeat(connect, 0.6) as heartbeat:
        tokens = take(conn, seconds=30)
        heartbeat.add(tokens)
        wait_until(lambda: opened and opened[0].autocommit, "a beat that commits itself")
        heartbeat.remove(tokens)


def test_two_groups_in_opposite_order_do_not_deadlock(database: str) -> None:
    wanted = days(30)
    reports: queue.Queue[LoadReport | BaseException] = queue.Queue()

    def run(order: list[object]) -> None:
        try:
            for round_ in range(4):
                for report in load(
                    database, *(source_of(many_rows(40, str(round_ + 1)), day) for day in order)
                ):
                    reports.put(report)
        except BaseException as error:  # noqa: BLE001 - asserted in the test's thread
            reports.put(error)

    threads = [
        threading.Thread(target=run, args=(order,)) for order in (wanted, list(reversed(wanted)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    results = [reports.get_nowait() for _ in range(reports.qsize())]
    assert [r for r in results if not isinstance(r, LoadReport) or r.error] == []
    assert len(results) == 240
    assert len(rows_of(database)) == 30 * 40


def _write_once(url: str, rows: list[Row], results: "multiprocessing.Queue[object]") -> None:
    [report] = load(url, source_of(rows))
    results.put((report.state.value, report.ledger))


@pytest.mark.long
def test_of_eight_writers_of_one_window_exactly_one_inserts(database: str) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[str, Ledger]] = context.Queue()
    rows = many_rows(5_000)
    writers = [
        context.Process(target=_write_once, args=(database, rows, results)) for _ in range(8)
    ]

    for writer in writers:
        writer.start()
    outcomes = [results.get(timeout=90) for _ in writers]
    for writer in writers:
        writer.join(timeout=30)

    assert [state for state, _ in outcomes] == ["success"] * 8
    assert sorted(ledger.inserted for _, ledger in outcomes) == [0] * 7 + [5_000]
    assert sorted(ledger.unchanged for _, ledger in outcomes) == [0] + [5_000] * 7
    assert len(rows_of(database)) == 5_000


def test_a_large_load_whose_window_was_taken_over_fails_and_the_rest_goes_on(
    database: str, conn: psycopg.Connection
) -> None:
    first, second = days(2)
    large = source_of(many_rows(3_000), first, source_hash="h", batch_rows=500)
    opened: list[object] = []

    def read(position: Mapping[str, int | str] | None) -> Iterator[SourceBatch]:
        opened.append(position)
        for number, batch in enumerate(large.read(position)):
            if len(opened) == 2 and number == 3:
                # Another process takes over while this one stages; its backend stays alive.
                conn.execute("UPDATE ops.leases SET token = nextval('ops.lease_tokens')")
                conn.execute("UPDATE ops.loads SET state = 'failed' WHERE state = 'running'")
            yield batch

    reports = load(
        database,
        replace(large, read=read),
        source_of(many_rows(5), second),
        chunk_rows=1_000,
        publish_connections=1,
    )

    by_key = {report.window.key: report for report in reports}
    assert isinstance(by_key[first.isoformat()].error, LeaseLost)
    assert by_key[second.isoformat()].state is LoadState.SUCCESS
    assert len(rows_of(database)) == 5
    # The lease belongs to the other process now.
    assert conn.execute("SELECT count(*) FROM ops.leases").fetchone() == (1,)


def test_a_load_whose_lease_vanished_is_closed_as_lost(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN DELETE FROM ops.leases; RETURN NULL; END $$"
    )
    conn.execute("CREATE TRIGGER lose AFTER INSERT ON prices EXECUTE FUNCTION lose()")

    [report] = load(database, source_of(many_rows(5)))

    assert isinstance(report.error, LeaseLost)
    assert rows_of(database) == []
    assert conn.execute("SELECT state, error_class FROM ops.loads").fetchall() == [
        ("failed", "LeaseLost")
    ]


def test_a_terminated_backend_is_a_retryable_failure_and_leaves_nothing_running(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    conn.execute("CREATE TRIGGER die AFTER INSERT ON prices EXECUTE FUNCTION die()")
    options = LoadOptions(lease_seconds=0.5)

    with pytest.raises(DatabaseUnavailable, match="terminating connection") as failure:
        list(load_windows(connector(database), CONTRACT, SCOPE, [source_of(many_rows(9))], options))
    conn.execute("DROP TRIGGER die ON prices")
    [report] = load(database, source_of(many_rows(9)))

    assert failure.value.retryable
    assert report.ledger == Ledger(read=9, inserted=9)
    assert conn.execute("SELECT state, reason FROM ops.loads ORDER BY load_id").fetchall() == [
        ("failed", "holder_died"),
        ("success", None),
    ]


def _age_seconds(conn: psycopg.Connection, resource: str = RESOURCE) -> float:
    """How long a lease that is still valid has been held."""
    row = conn.execute(
        "SELECT extract(epoch FROM clock_timestamp() - acquired_at) FROM ops.leases "
        "WHERE resource = %s AND expires_at > clock_timestamp()",
        (resource,),
    ).fetchone()
    assert row is not None, "the lease ran out"
    return float(row[0])
