from datetime import date

import psycopg
import pytest

from batch_assets.errors import (
    ConfigurationError,
    RejectLimitExceeded,
    SchemaMismatch,
    UnreadableSource,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState, PublishPath
from batch_assets_tests.conftest import PostgresServer
from batch_assets_tests.ingest.tables.transfers import Project, orders

DOUBLED = (
    "CREATE TABLE public.doubled (id bigint PRIMARY KEY, doubled numeric(20, 6), load_id bigint)"
)
FUNCTION = "batch_assets_tests.ingest.tables.transfers:double_amounts"


@pytest.fixture
def project(quiet_postgres: str, postgres_empty: str) -> Project:
    """Source and target are two databases."""
    return Project(source=postgres_empty, target=quiet_postgres)


def test_first_transfer_creates_the_target_and_copies_every_type(project: Project) -> None:
    project.create_orders(1_000)

    [report] = project.run(orders())

    assert report.state is LoadState.SUCCESS
    assert report.publish_path is PublishPath.DIRECT
    assert report.ledger == Ledger(read=1_000, inserted=1_000)
    assert project.differences() == 0
    assert project.query("SELECT DISTINCT load_id FROM copies.orders") == [(report.load_id,)]


def test_second_transfer_writes_only_the_difference(project: Project) -> None:
    project.create_orders(1_000)
    project.run(orders())
    before = project.query("SELECT id, xmin FROM copies.orders ORDER BY id")
    project.change_source("UPDATE orders SET amount = 0 WHERE id = 10")
    project.change_source("DELETE FROM orders WHERE id = 20")
    project.add_orders(1_001, 1_002)

    [same] = project.run(orders())
    [again] = project.run(orders())

    assert same.ledger == Ledger(read=1_001, inserted=2, updated=1, unchanged=998, deleted=1)
    assert again.ledger == Ledger(read=1_001, unchanged=1_001)
    assert project.differences() == 0
    untouched = [row for row in before if row[0] not in (10, 20)]
    now = project.query("SELECT id, xmin FROM copies.orders WHERE id <= 1000 ORDER BY id")
    assert [row for row in now if row[0] != 10] == untouched


def test_days_are_loaded_one_by_one_and_leave_the_others_alone(project: Project) -> None:
    project.create_orders(900)
    transfer = orders(window_column="day")

    [first] = project.run(transfer, [date(2024, 9, 30)])
    both = project.run(transfer, [date(2024, 9, 30), date(2024, 10, 1), date(2030, 1, 1)])

    assert first.ledger == Ledger(read=300, inserted=300)
    by_key = {report.window.key: report for report in both}
    assert by_key["2024-09-30"].ledger == Ledger(read=300, unchanged=300)
    assert by_key["2024-10-01"].ledger == Ledger(read=300, inserted=300)
    assert by_key["2030-01-01"].state is LoadState.UNCONFIRMED_EMPTY
    assert project.query("SELECT count(*) FROM copies.orders") == [(600,)]


def test_an_empty_source_empties_the_target_only_where_that_is_an_answer(project: Project) -> None:
    project.create_orders(10)
    project.run(orders())
    project.change_source("DELETE FROM orders")

    [refused] = project.run(orders())
    kept = project.query("SELECT count(*) FROM copies.orders")
    [emptied] = project.run(orders(empty_ok=True))

    assert refused.state is LoadState.UNCONFIRMED_EMPTY
    assert kept == [(10,)]
    assert emptied.ledger == Ledger(deleted=10)
    assert project.query("SELECT count(*) FROM copies.orders") == [(0,)]


def test_rows_the_target_refuses_become_dead_letters_and_the_rest_is_loaded(
    project: Project,
) -> None:
    project.create_orders(3_000)
    project.change_source("UPDATE orders SET amount = -amount WHERE id IN (7, 1500, 2999)")
    project.run(orders(query="SELECT * FROM orders WHERE id = 1", table=""))
    with project.connect() as conn:
        conn.execute("TRUNCATE copies.orders")
        conn.execute("ALTER TABLE copies.orders ADD CONSTRAINT positive CHECK (amount >= 0)")

    [report] = project.run(orders())

    assert report.error is None
    assert report.ledger == Ledger(read=3_000, inserted=2_997, rejected=3)
    assert report.reject_reasons == {"refused_by_table": 3}
    letters = project.query(
        "SELECT original ->> 'id', violations -> 0 ->> 'column' FROM ops.dead_letters "
        "WHERE state = 'open' ORDER BY 1"
    )
    assert letters == [("1500", "positive"), ("2999", "positive"), ("7", "positive")]

    project.change_source("UPDATE orders SET amount = 1 WHERE amount < 0")
    [mended] = project.run(orders())

    assert mended.ledger == Ledger(read=3_000, inserted=3, unchanged=2_997)
    assert project.query("SELECT DISTINCT state FROM ops.dead_letters") == [("superseded",)]


def test_more_refused_rows_than_the_budget_fail_the_transfer(project: Project) -> None:
    project.create_orders(500)
    project.run(orders())
    with project.connect() as conn:
        conn.execute("TRUNCATE copies.orders")
        conn.execute("ALTER TABLE copies.orders ADD CONSTRAINT few CHECK (id > 100)")

    [report] = project.run(orders(reject_limit_rows=5))

    assert isinstance(report.error, RejectLimitExceeded)
    assert "few" in str(report.error)
    assert project.query("SELECT count(*) FROM copies.orders") == [(0,)]
    assert project.query("SELECT count(*) FROM ops.leases") == [(0,)]


def test_equal_copies_count_as_duplicates_and_disagreeing_ones_are_rejected(
    project: Project,
) -> None:
    project.create_orders(1_000)
    twice = (
        "SELECT * FROM orders UNION ALL SELECT * FROM orders WHERE id = 4 UNION ALL "
        "SELECT id, day, 'other', amount, details, tags, changed_at, processed FROM orders "
        "WHERE id = 9"
    )

    [report] = project.run(orders(table="", query=twice))

    assert report.ledger == Ledger(read=1_002, inserted=999, duplicate=1, rejected=2)
    assert report.reject_reasons == {"conflicting_duplicate_key": 2}


def test_a_large_table_is_staged_in_chunks_and_published_at_once(project: Project) -> None:
    project.create_orders(5_000)
    # No chunk is quick enough; the transfer's lower bound holds all the same.
    transfer = orders(
        direct_rows=100, min_batch_rows=1_000, max_batch_rows=2_000, aim_seconds=0.000001
    )

    [report] = project.run(transfer)
    [again] = project.run(transfer)

    assert report.ledger == Ledger(read=5_000, inserted=5_000)
    assert again.ledger == Ledger(read=5_000, unchanged=5_000)
    assert project.differences() == 0
    courses = project.query("SELECT metrics -> 'chunk_rows' FROM ops.loads ORDER BY load_id")
    # The next load begins with the size that the last one ended with.
    assert courses == [([2_000, 1_000, 1_000, 1_000],), ([1_000] * 5,)]
    assert project.query("SELECT count(*) FROM ops.checkpoints") == [(0,)]


def test_a_failed_large_transfer_continues_after_the_last_committed_chunk(
    project: Project,
) -> None:
    project.create_orders(5_000)
    transfer = orders(
        columns=("id",),
        transform=("(amount / (id - 3500))::numeric(20, 6) AS share",),
        direct_rows=100,
        max_batch_rows=1_000,
    )
    [failed] = project.run(transfer)
    staged = project.query("SELECT max(chunk_no), sum(rows_read)::int FROM ops.checkpoints")
    visible = project.query("SELECT count(*) FROM copies.orders")
    # What was staged is not read again: the rows before the position may even change meanwhile.
    project.change_source("UPDATE orders SET amount = 0 WHERE id = 1")
    project.change_source("UPDATE orders SET id = 9999 WHERE id = 3500")

    [report] = project.run(transfer)

    assert isinstance(failed.error, UnreadableSource)
    # At most 1,000 rows each; a slow machine makes chunks smaller.
    [(chunks, rows_staged)] = staged
    assert chunks >= 3
    assert rows_staged == 3_000
    assert visible == [(0,)]
    assert report.ledger == Ledger(read=5_000, inserted=5_000)
    assert project.query("SELECT share <> 0 FROM copies.orders WHERE id = 1") == [(True,)]
    assert project.query("SELECT count(*) FROM ops.checkpoints") == [(0,)]


def test_expressions_are_evaluated_by_the_source(project: Project) -> None:
    project.create_orders(10)
    transfer = orders(
        columns=("id",), transform=("amount * 2 AS doubled",), target="copies.doubled"
    )

    [report] = project.run(transfer)

    assert report.ledger == Ledger(read=10, inserted=10)
    assert project.query("SELECT doubled = 2 * 7 / 7.0 FROM copies.doubled WHERE id = 7") == [
        (True,)
    ]


def test_function_takes_and_returns_arrow_and_its_failures_are_single_rows(
    project: Project,
) -> None:
    project.create_orders(2_000)
    with project.connect() as conn:
        conn.execute(DOUBLED)
    transfer = orders(
        columns=("id", "customer", "amount"), transform=FUNCTION, target="public.doubled"
    )

    [report] = project.run(transfer)
    [again] = project.run(transfer)

    assert report.error is None
    assert report.ledger == Ledger(read=2_000, inserted=1_998, rejected=1, skipped=1)
    assert report.reject_reasons == {"transform_failed": 1}
    assert again.ledger == Ledger(read=2_000, unchanged=1_998, rejected=1, skipped=1)
    letters = project.query("SELECT row_number, original ->> 'id' FROM ops.dead_letters")
    assert letters == [(5, "5")]


def test_function_takes_and_returns_pandas_frames_without_rounding_integers(
    project: Project,
) -> None:
    project.create_orders(10)
    project.change_source("ALTER TABLE orders ADD COLUMN big bigint")
    project.change_source("UPDATE orders SET big = 9007199254740993 + id WHERE id <= 8")
    with project.connect() as conn:
        conn.execute(
            "CREATE TABLE public.even (id bigint PRIMARY KEY, customer text, big bigint, "
            "length integer, load_id bigint)"
        )
    transfer = orders(
        columns=("id", "customer", "big"),
        transform="batch_assets_tests.ingest.tables.transfers:count_in_pandas",
        rows_as="pandas",
        target="public.even",
    )

    [report] = project.run(transfer)

    assert report.error is None
    assert report.ledger == Ledger(read=10, inserted=5, skipped=5)
    rows = project.query("SELECT id, big - 9007199254740993, length FROM even ORDER BY id")
    assert rows == [(2, 2, 10), (4, 4, 10), (6, 6, 10), (8, 8, 10), (10, None, 11)]


def test_types_that_differ_are_refused_with_the_cast_to_write(project: Project) -> None:
    project.create_orders(3)
    with project.connect() as conn:
        conn.execute(
            "CREATE TABLE public.other "
            "(id integer PRIMARY KEY, amount numeric(20, 2), load_id bigint)"
        )

    with pytest.raises(SchemaMismatch, match="amount::numeric") as raised:
        project.run(orders(target="public.other", columns=("id", "amount")))

    assert "'id' is bigint there, integer here" in str(raised.value)
    assert project.query("SELECT count(*) FROM ops.loads") == [(0,)]


def test_target_without_a_unique_key_is_refused(project: Project) -> None:
    project.create_orders(3)
    with project.connect() as conn:
        conn.execute("CREATE TABLE public.heap (id bigint, load_id bigint)")

    with pytest.raises(SchemaMismatch, match="is not unique by"):
        project.run(orders(target="public.heap", columns=("id",)))


def test_source_errors_are_told_as_the_sources(project: Project) -> None:
    project.create_orders(3)

    with pytest.raises(ConfigurationError, match="does not exist"):
        project.run(orders(columns=("id", "nothing")))
    [report] = project.run(orders(columns=("id",), transform=("1 / (id - 2) AS x",)))

    assert isinstance(report.error, UnreadableSource)
    assert "division by zero" in str(report.error)


def test_types_made_by_users_pass_within_one_database(postgres: str) -> None:
    project = Project(postgres, postgres)
    with project.connect() as conn:
        conn.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
        conn.execute("CREATE TABLE moods (id int PRIMARY KEY, mood mood)")
        conn.execute("INSERT INTO moods VALUES (1, 'good'), (2, NULL)")
    transfer = orders(source_url_env="", table="public.moods", target="copies.moods")

    [report] = project.run(transfer)

    assert report.ledger == Ledger(read=2, inserted=2)


def test_a_reader_sees_all_rows_or_none(project: Project, postgres_server: PostgresServer) -> None:
    project.create_orders(100)
    project.run(orders())
    project.change_source("UPDATE orders SET amount = -5")

    with psycopg.connect(project.target, autocommit=False) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1 FROM copies.orders LIMIT 1")
        project.run(orders())
        seen = reader.execute("SELECT count(*) FROM copies.orders WHERE amount = -5").fetchone()

    assert seen == (0,)
    assert project.query("SELECT count(*) FROM copies.orders WHERE amount = -5") == [(100,)]
