"""Transfers whose process is killed, run again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batch_assets.loading.ledger import Ledger
from batch_assets_tests.ingest.tables.transfers import Project, orders, queue

PROJECT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from batch_assets.execution import failpoints
from batch_assets_tests.ingest.tables.transfers import Project, orders, queue

failpoints.arm(sys.argv[3])
project = Project(sys.argv[1], sys.argv[2])
if sys.argv[4] == "full":
    project.run(orders(direct_rows=int(sys.argv[5]), max_batch_rows=1_000))
elif sys.argv[4] == "queue":
    project.go_on(queue(project))
else:
    project.go_on(orders(mode="incremental", incremental_column="id", max_batch_rows=1_000,
                         min_batch_rows=1_000))
"""


@pytest.fixture
def project(quiet_postgres: str, postgres_empty: str) -> Project:
    return Project(source=postgres_empty, target=quiet_postgres)


def run_until_killed(project: Project, failpoint: str, mode: str, direct_rows: int = 100) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, project.source, project.target, failpoint, mode,
         str(direct_rows)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL


@pytest.mark.crash
def test_killed_large_transfer_reads_no_committed_chunk_again(project: Project) -> None:
    project.create_orders(5_000)
    run_until_killed(project, "stage.after_commit=kill@3", "full")
    staged = project.query("SELECT sum(rows_read)::int FROM ops.checkpoints")
    visible = project.query("SELECT count(*) FROM copies.orders")
    # A row of a committed chunk that is read again would show this.
    project.change_source("UPDATE orders SET amount = -1 WHERE id = 1")

    [report] = project.run(orders(direct_rows=100, max_batch_rows=1_000))

    assert staged == [(3_000,)]
    assert visible == [(0,)]
    assert report.ledger == Ledger(read=5_000, inserted=5_000)
    assert project.query("SELECT amount > 0 FROM copies.orders WHERE id = 1") == [(True,)]
    states = project.query("SELECT state, reason FROM ops.loads ORDER BY load_id")
    assert states == [("failed", "holder_died"), ("success", None)]


@pytest.mark.crash
@pytest.mark.parametrize("place", ["bulk.after_copy", "publish.before_commit"])
def test_killed_direct_transfer_leaves_nothing_behind(project: Project, place: str) -> None:
    project.create_orders(5_000)
    run_until_killed(project, f"{place}=kill", "full", direct_rows=100_000)
    visible = project.query("SELECT count(*) FROM copies.orders")

    [report] = project.run(orders())

    assert visible == [(0,)]
    assert report.ledger == Ledger(read=5_000, inserted=5_000)
    assert project.differences() == 0


@pytest.mark.crash
@pytest.mark.parametrize("place", ["stream.before_commit=kill@3", "stream.after_commit=kill@2"])
def test_killed_incremental_transfer_goes_on_after_its_last_chunk(
    project: Project, place: str
) -> None:
    project.create_orders(5_000)
    run_until_killed(project, place, "incremental")
    committed = project.query("SELECT count(*) FROM copies.orders")

    report = project.go_on(
        orders(
            mode="incremental", incremental_column="id", max_batch_rows=1_000, min_batch_rows=1_000
        )
    )

    assert committed == [(2_000,)]
    assert report.ledger == Ledger(read=3_001, inserted=3_000, unchanged=1)
    assert project.differences() == 0


@pytest.mark.crash
@pytest.mark.parametrize("place", ["publish.before_commit=kill", "publish.after_commit=kill"])
def test_killed_publish_of_a_large_transfer_is_all_or_nothing(project: Project, place: str) -> None:
    project.create_orders(5_000)
    run_until_killed(project, place, "full")
    [(visible,)] = project.query("SELECT count(*) FROM copies.orders")

    [report] = project.run(orders(direct_rows=100, max_batch_rows=1_000))

    is_published = "after" in place
    assert visible == (5_000 if is_published else 0)
    assert report.ledger.read == 5_000
    assert report.ledger.inserted == 5_000 - visible
    assert project.differences() == 0
    assert project.query("SELECT count(*) FROM ops.checkpoints") == [(0,)]


@pytest.mark.crash
@pytest.mark.parametrize("is_same_database", [False, True], ids=["other database", "same database"])
@pytest.mark.parametrize(
    "place",
    ["stream.before_commit=kill@3", "stream.after_commit=kill@2", "queue.before_mark=kill@2"],
)
def test_killed_queue_loses_no_row_and_stores_none_twice(
    project: Project, place: str, is_same_database: bool
) -> None:
    if is_same_database and "mark" in place:
        place = "stream.after_rows=kill@3"
    if is_same_database:
        project = Project(project.target, project.target)
    project.create_orders(5_000)
    run_until_killed(project, place, "queue")
    before = project.query("SELECT id, xmin FROM copies.taken")
    with project.connect_source() as conn:
        marked = conn.execute("SELECT count(*) FROM orders WHERE processed").fetchone()

    report = project.go_on(queue(project))

    assert len(before) == 2_000
    assert report.ledger.inserted == 3_000
    # What was stored and not marked yet is met again, and not written again.
    assert report.ledger.unchanged == len(before) - marked[0]
    if is_same_database:
        assert marked == (2_000,)
    after = project.query("SELECT id, xmin FROM copies.taken")
    assert len(after) == 5_000
    assert set(before) <= set(after)
    with project.connect_source() as conn:
        assert conn.execute("SELECT count(*) FROM orders WHERE NOT processed").fetchone() == (0,)
