from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from psycopg.conninfo import make_conninfo

from batch_assets.errors import (
    ConfigurationError,
    InfrastructureError,
    LeaseHeld,
    RejectLimitExceeded,
    UnreadableSource,
)
from batch_assets.execution import failpoints
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets.sources.tables.transfer import Transfer
from batch_assets_tests.ingest.tables.transfers import Project, orders
from batch_assets_tests.polling import wait_until

SETTLED = "UPDATE orders SET changed_at = TIMESTAMPTZ '2024-09-30 12:00:00+00'"


def new_orders(**changes: object) -> Transfer:
    return orders(mode="incremental", incremental_column="changed_at", **changes)


def queue(**changes: object) -> Transfer:
    return orders(
        mode="queue", columns=("id", "customer", "amount"), target="copies.taken", **changes
    )


@pytest.fixture
def project(quiet_postgres: str, postgres_empty: str) -> Project:
    return Project(source=postgres_empty, target=quiet_postgres)


def test_only_new_and_changed_rows_are_read(project: Project) -> None:
    project.create_orders(2_000)
    project.change_source(SETTLED)
    first = project.go_on(new_orders())
    project.add_orders(2_001, 2_100)
    project.change_source("UPDATE orders SET amount = 0, changed_at = now() WHERE id = 5")

    second = project.go_on(new_orders())
    third = project.go_on(new_orders())

    assert first.ledger == Ledger(read=2_000, inserted=2_000)
    # The 2,000 rows of the last value are read again: others may have come with the same value.
    assert second.ledger.inserted == 100
    assert second.ledger.updated == 1
    assert third.ledger == Ledger(read=1, unchanged=1)
    assert project.differences() == 0


def test_a_row_that_comes_later_with_the_last_value_is_not_lost(project: Project) -> None:
    project.create_orders(10)
    project.change_source(SETTLED)
    project.change_source("UPDATE orders SET id = id + 100")
    project.go_on(new_orders())
    project.change_source(
        "INSERT INTO orders (id, day, changed_at) "
        "VALUES (1, '2024-09-30', '2024-09-30 12:00:00+00')"
    )

    report = project.go_on(new_orders())

    assert report.ledger == Ledger(read=11, inserted=1, unchanged=10)


def test_rows_of_a_transaction_under_way_are_read_once_it_has_ended(project: Project) -> None:
    project.create_orders(10)
    by_id = orders(mode="incremental", incremental_column="id")
    project.go_on(by_id)
    with project.connect_source() as slow:
        slow.execute("INSERT INTO orders (id, day) VALUES (11, '2024-09-30')")
        # Committed before the slow transaction, with a higher value.
        project.change_source("INSERT INTO orders (id, day) VALUES (12, '2024-09-30')")
        during = project.go_on(by_id)
        slow.commit()

    after = project.go_on(by_id)

    assert during.ledger == Ledger(read=1, unchanged=1)
    assert "1 rows, from id = 12 on, wait for the transaction of pid" in during.message
    assert after.ledger == Ledger(read=3, inserted=2, unchanged=1)
    assert after.message == ""
    assert project.differences() == 0


def test_rows_that_all_wait_are_not_called_nothing_new(project: Project) -> None:
    project.create_orders(10)
    by_id = orders(mode="incremental", incremental_column="id")
    with project.connect_source() as slow:
        slow.execute("INSERT INTO orders (id, day) VALUES (0, '2024-09-30')")
        project.change_source("UPDATE orders SET amount = 1")
        report = project.go_on(by_id)
        pid = slow.info.backend_pid

    assert (report.state, report.reason) == (LoadState.NOT_READY, "rows_wait")
    assert f"10 rows, from id = 1 on, wait for the transaction of pid {pid}" in report.message
    stored = project.query("SELECT state, reason, metrics -> 'waiting_rows' FROM ops.loads")
    assert stored == [("not_ready", "rows_wait", 10)]


def test_only_transactions_of_the_same_database_hold_rows_back_whoever_looks(
    project: Project,
) -> None:
    project.create_orders(10)
    project.change_source(
        "DO $$ BEGIN CREATE ROLE tables_reader LOGIN PASSWORD 'reads'; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    project.change_source("GRANT SELECT ON orders TO tables_reader")
    reader = make_conninfo(project.source, user="tables_reader", password="reads")
    as_reader = replace(project, source=reader)
    by_id = orders(mode="incremental", incremental_column="id")
    with project.connect_source() as here, project.connect() as elsewhere:
        elsewhere.execute("CREATE TABLE unrelated ()")
        here.execute("CREATE TABLE related ()")
        project.change_source("UPDATE orders SET amount = 1")
        held_back = as_reader.go_on(by_id)
        pid = here.info.backend_pid
        here.rollback()
        free = as_reader.go_on(by_id)

    assert held_back.state is LoadState.NOT_READY
    assert f"the transaction of pid {pid}" in held_back.message
    assert free.ledger == Ledger(read=10, inserted=10)


def test_lookback_reads_a_stretch_again(project: Project) -> None:
    project.create_orders(100)
    transfer = orders(mode="incremental", incremental_column="id", lookback="30")
    project.go_on(transfer)
    project.change_source("UPDATE orders SET amount = 0 WHERE id IN (60, 80)")

    report = project.go_on(transfer)

    assert report.ledger == Ledger(read=31, updated=1, unchanged=30)


def test_a_stopped_run_goes_on_after_its_last_chunk(project: Project) -> None:
    project.create_orders(3_000)
    transfer = orders(
        columns=("id",),
        transform=("(amount / (id - 2500))::numeric(20, 6) AS share",),
        mode="incremental",
        incremental_column="id",
        max_batch_rows=1_000,
        min_batch_rows=1_000,
    )
    failed = project.go_on(transfer)
    committed = project.query("SELECT count(*) FROM copies.orders")
    project.change_source("DELETE FROM orders WHERE id = 2500")

    report = project.go_on(transfer)

    assert isinstance(failed.error, UnreadableSource)
    assert failed.ledger == Ledger(read=2_000, inserted=2_000)
    assert committed == [(2_000,)]
    assert report.ledger == Ledger(read=1_000, inserted=999, unchanged=1)
    loads = project.query("SELECT state, rows_read FROM ops.loads ORDER BY load_id")
    assert loads == [("failed", 2_000), ("success", 1_000)]


def test_refused_rows_are_dead_letters_until_they_are_corrected(project: Project) -> None:
    project.create_orders(10)
    by_id = orders(mode="incremental", incremental_column="changed_at")
    project.go_on(by_id)
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.orders ADD CONSTRAINT positive CHECK (amount >= 0)")
    project.add_orders(11, 3_000)
    project.change_source("UPDATE orders SET amount = -1 WHERE id = 2000")

    report = project.go_on(by_id)
    project.change_source("UPDATE orders SET amount = 1, changed_at = now() WHERE id = 2000")
    letters = project.query("SELECT original ->> 'id', state FROM ops.dead_letters")
    mended = project.go_on(by_id)

    assert report.ledger.rejected == 1
    assert report.ledger.inserted == 2_989
    assert letters == [("2000", "open")]
    assert mended.ledger.inserted == 1
    assert project.query("SELECT state FROM ops.dead_letters") == [("superseded",)]
    assert project.differences() == 0


def test_more_rejected_rows_than_the_budget_fail_the_run(project: Project) -> None:
    project.create_orders(10)
    by_id = orders(mode="incremental", incremental_column="id", reject_limit_rows=3)
    project.go_on(by_id)
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.orders ADD CONSTRAINT known CHECK (id < 15)")
    project.add_orders(11, 30)

    report = project.go_on(by_id)

    assert report.state is LoadState.FAILED
    assert isinstance(report.error, RejectLimitExceeded)
    assert project.query("SELECT count(*) FROM copies.orders") == [(10,)]


def test_a_queue_is_emptied_and_marked(project: Project) -> None:
    project.create_orders(2_500)
    transfer = queue(min_batch_rows=1_000, max_batch_rows=1_000)

    first = project.go_on(transfer)
    second = project.go_on(transfer)

    assert first.ledger == Ledger(read=2_500, inserted=2_500)
    assert second.state is LoadState.SKIPPED
    with project.connect_source() as conn:
        assert conn.execute("SELECT count(*) FROM orders WHERE NOT processed").fetchone() == (0,)


def test_rows_that_others_have_locked_are_left_to_them(project: Project) -> None:
    project.create_orders(10)
    with project.connect_source() as other:
        other.execute("SELECT 1 FROM orders WHERE id <= 4 FOR UPDATE")
        report = project.go_on(queue())
        other.rollback()

    rest = project.go_on(queue())

    assert report.ledger == Ledger(read=6, inserted=6)
    assert "4 rows of the queue are held by others" in report.message
    assert rest.ledger == Ledger(read=4, inserted=4)


def test_a_crash_before_the_mark_repeats_nothing_visible(project: Project) -> None:
    project.create_orders(100)
    failpoints.arm("queue.before_mark=fail")
    try:
        with pytest.raises(InfrastructureError):
            project.go_on(queue())
    finally:
        failpoints.arm("")
    before = project.query("SELECT id, xmin FROM copies.taken ORDER BY id")

    report = project.go_on(queue())

    assert len(before) == 100
    assert report.ledger == Ledger(read=100, unchanged=100)
    assert project.query("SELECT id, xmin FROM copies.taken ORDER BY id") == before


def test_a_queue_in_the_same_database_is_marked_with_its_rows(postgres: str) -> None:
    project = Project(postgres, postgres)
    project.create_orders(100)
    transfer = queue(source_url_env="")
    project.change_source(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not today'; END $$"
    )
    project.change_source(
        "CREATE TRIGGER refuse BEFORE UPDATE ON orders FOR EACH ROW WHEN (new.id = 50) "
        "EXECUTE FUNCTION refuse()"
    )
    with pytest.raises(ConfigurationError, match="not today"):
        project.go_on(transfer)
    project.change_source("DROP TRIGGER refuse ON orders")
    stored = project.query("SELECT count(*) FROM copies.taken")
    undone = project.query("SELECT count(*) FROM orders WHERE processed")

    report = project.go_on(transfer)

    assert stored == undone == [(0,)]
    assert report.ledger == Ledger(read=100, inserted=100)
    assert project.query("SELECT count(*) FROM orders WHERE processed") == [(100,)]


def test_a_queue_goes_through_a_function_on_its_own_connection(postgres: str) -> None:
    project = Project(postgres, postgres)
    project.create_orders(100)
    with project.connect() as conn:
        conn.execute(
            "CREATE TABLE doubled (id bigint PRIMARY KEY, doubled numeric(20, 6), load_id bigint)"
        )
    function = "batch_assets_tests.ingest.tables.transfers:double_amounts"

    report = project.go_on(
        queue(source_url_env="", transform=function).model_copy(update={"target": "public.doubled"})
    )

    assert report.ledger == Ledger(read=100, inserted=98, rejected=1, skipped=1)


def test_a_chunk_that_waits_for_a_lock_makes_the_next_one_smaller(project: Project) -> None:
    project.create_orders(1)
    by_id = orders(
        mode="incremental", incremental_column="id", min_batch_rows=100, max_batch_rows=1_000
    )
    project.go_on(by_id)
    project.add_orders(2, 3_000)
    with project.connect() as holder, ThreadPoolExecutor() as pool:
        # The chunk that brings row 2 waits until this row is gone.
        holder.execute(
            "INSERT INTO copies.orders (id, day, changed_at, processed, load_id) "
            "VALUES (2, '2024-09-30', now(), FALSE, 0)"
        )
        run = pool.submit(project.go_on, by_id)
        waited = (
            "SELECT clock_timestamp() - query_start > '1.2 s' FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        wait_until(lambda: (True,) in project.query(waited), "a wait of 1.2 s for the lock")
        holder.rollback()
        report = run.result()

    [(course, halved)] = project.query(
        "SELECT metrics -> 'chunk_rows', metrics -> 'chunks_halved' FROM ops.loads "
        "ORDER BY load_id DESC LIMIT 1"
    )
    assert report.ledger.inserted == 2_999
    # It begins where the first run ended, which may have been slow.
    assert course[1] == course[0] // 2
    assert halved["seconds"] >= 1


def test_one_run_at_a_time(project: Project) -> None:
    project.create_orders(10)
    project.go_on(new_orders())
    with project.connect() as conn, pytest.MonkeyPatch.context() as patch:
        conn.execute(
            "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at) "
            "SELECT 'copies.orders/orders', 'somebody', pid, backend_start, now() + '1 hour' "
            "FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        conn.commit()
        patch.setattr("batch_assets_tests.ingest.tables.transfers.LEASE_WAIT_SECONDS", 0.0)

        with pytest.raises(LeaseHeld, match="somebody"):
            project.go_on(new_orders())
