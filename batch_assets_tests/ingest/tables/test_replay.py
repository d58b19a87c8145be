"""Dead letters of transfers, tried again."""

import pytest

from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadState
from batch_assets_tests.ingest.tables.transfers import Project, orders

LETTERS = "SELECT original ->> 'id', state, answered_by FROM ops.dead_letters ORDER BY 1, 2"


@pytest.fixture
def project(quiet_postgres: str, postgres_empty: str) -> Project:
    return Project(source=postgres_empty, target=quiet_postgres)


def refuse_negative(project: Project) -> None:
    with project.connect() as conn:
        conn.execute("ALTER TABLE copies.orders ADD CONSTRAINT positive CHECK (amount >= 0)")


def test_corrected_rows_are_loaded_by_their_keys_and_nothing_else_is_read(
    project: Project,
) -> None:
    by_id = orders(mode="incremental", incremental_column="id")
    project.create_orders(10)
    project.go_on(by_id)
    refuse_negative(project)
    project.add_orders(11, 2_000)
    project.change_source("UPDATE orders SET amount = -1 WHERE id IN (50, 60, 70)")
    project.go_on(by_id)
    # Their rising column stays: no later run would read them.
    project.change_source("UPDATE orders SET amount = 1 WHERE id = 50")
    project.change_source("UPDATE orders SET amount = -2 WHERE id = 60")
    project.change_source("DELETE FROM orders WHERE id = 70")

    [report] = project.replay(by_id)
    after = project.go_on(by_id)

    assert report.ledger == Ledger(read=2, inserted=1, rejected=1)
    assert report.message.startswith("3 dead letters: 1 loaded now, 1 still wrong, 1 not found")
    assert project.query(LETTERS) == [
        ("50", "replayed", "tester"),
        ("60", "open", None),
        ("60", "superseded", None),
        ("70", "open", None),
    ]
    assert project.query("SELECT amount FROM copies.orders WHERE id = 50") == [(1,)]
    # The position of the transfer is where it was.
    assert after.ledger == Ledger(read=1, unchanged=1)


def test_a_row_that_is_read_again_and_again_is_one_dead_letter(project: Project) -> None:
    by_id = orders(
        mode="incremental", incremental_column="id", lookback="1000", reject_limit_ratio=1
    )
    project.create_orders(10)
    project.go_on(by_id)
    refuse_negative(project)
    project.add_orders(11, 20)
    project.change_source("UPDATE orders SET amount = -1 WHERE id = 15")
    project.go_on(by_id)
    project.change_source("DELETE FROM orders WHERE id = 3")

    project.go_on(by_id)

    letters = project.query("SELECT state, seen_count FROM ops.dead_letters")
    assert letters == [("open", 2)]


def test_rows_on_which_a_function_failed_are_replayed_through_it(project: Project) -> None:
    project.create_orders(20)
    with project.connect() as conn:
        conn.execute(
            "CREATE TABLE doubled (number bigint PRIMARY KEY, doubled numeric(20, 6), "
            "load_id bigint)"
        )
    transfer = orders(
        mode="queue",
        columns=("id", "amount"),
        key=("number",),
        source_key=("id",),
        target="public.doubled",
        reject_limit_ratio=0.1,
        transform="batch_assets_tests.ingest.tables.transfers:number_small_amounts",
    )
    project.change_source("UPDATE orders SET amount = 1000000 WHERE id = 7")
    first = project.go_on(transfer)
    project.change_source("UPDATE orders SET amount = 5 WHERE id = 7")

    [report] = project.replay(transfer)

    assert first.ledger == Ledger(read=20, inserted=19, rejected=1)
    assert report.ledger == Ledger(read=1, inserted=1)
    assert project.query("SELECT doubled FROM doubled WHERE number = 7") == [(10,)]
    assert project.query("SELECT state FROM ops.dead_letters") == [("replayed",)]
    assert project.replay(transfer) == []


def test_a_full_transfer_loads_its_windows_with_dead_letters_again(project: Project) -> None:
    project.create_orders(10)
    project.run(orders())
    refuse_negative(project)
    project.change_source("UPDATE orders SET amount = -1 WHERE id = 5")
    transfer = orders(reject_limit_ratio=0.1)
    project.run(transfer)
    met = project.query("SELECT state FROM ops.dead_letters")
    project.change_source("UPDATE orders SET amount = 1 WHERE id = 5")

    [report] = project.replay(transfer)

    assert report.state is LoadState.SUCCESS
    assert report.ledger.rejected == 0
    assert project.differences() == 0
    assert project.query("SELECT state FROM ops.dead_letters") == [("superseded",)]
    assert met == [("open",)]
    assert project.replay(transfer) == []
