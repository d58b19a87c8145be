"""Writers that die or stop anywhere: readers see whole days only, and the next run completes."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import psutil
import psycopg
import pytest

from batch_assets.loading.report import LoadState
from batch_assets_tests.loading.synthetic import connector, create_table, days, rows_of
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.writer import BATCH_ROWS, Plan, run, start

OLD_ROWS, NEW_ROWS = 3_000, 3_500
OLD, NEW = "1", "2"

Seen = tuple[int, Decimal, Decimal]
"""Rows of a day, lowest and highest price."""


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


@contextmanager
def reading(url: str) -> Iterator[set[tuple[str, Seen]]]:
    """Poll the table without a pause; gives every state of every day that was ever visible."""
    seen: set[tuple[str, Seen]] = set()
    stop = threading.Event()

    def poll() -> None:
        with connector(url)() as conn:
            conn.autocommit = True
            while not stop.is_set():
                for day, *state in conn.execute(
                    "SELECT day::text, count(*), min(price), max(price) FROM prices GROUP BY day"
                ):
                    seen.add((day, tuple(state)))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        yield seen
    finally:
        stop.set()
        reader.join()


@contextmanager
def writing(plan: Plan) -> Iterator["subprocess.Popen[str]"]:
    """A writer in a process of its own, which does not outlive the test, stopped or not."""
    with start(plan) as process:
        try:
            yield process
        finally:
            process.kill()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with connector(url)() as conn:
        return conn.execute(statement).fetchall()


def assert_whole_days_only(seen: set[tuple[str, Seen]]) -> None:
    whole = {(OLD_ROWS, Decimal(1), Decimal(1)), (NEW_ROWS, Decimal(2), Decimal(2))}
    assert {state for _, state in seen} <= whole


def assert_nothing_is_left_over(url: str) -> None:
    """Promises P1 and P6: no lease, no running load, no staged chunk, every ledger balances."""
    assert query(url, "SELECT * FROM ops.leases") == []
    assert query(url, "SELECT * FROM ops.loads WHERE state = 'running'") == []
    assert query(url, "SELECT * FROM ops.checkpoints") == []
    assert (
        query(url, "SELECT relname FROM pg_class WHERE relnamespace = 'staging'::regnamespace")
        == []
    )
    [(stored, inserted)] = query(
        url,
        "SELECT (SELECT count(*) FROM prices), "
        "sum(rows_inserted) FROM ops.loads WHERE state = 'success'",
    )
    assert stored == inserted


def assert_target_is_new(url: str, day_count: int) -> None:
    found = query(url, "SELECT day, count(*), min(price), max(price) FROM prices GROUP BY day")
    assert {row[0]: row[1:] for row in found} == {
        day: (NEW_ROWS, Decimal(2), Decimal(2)) for day in days(day_count)
    }


def assert_second_run_changes_nothing(plan: Plan) -> None:
    before = rows_of(plan.url, "xmin, ctid")
    reads: list[tuple[str, int]] = []

    reports = run(plan, reads)

    assert reads == []
    assert {report.ledger.unchanged for report in reports} == {NEW_ROWS}
    assert rows_of(plan.url, "xmin, ctid") == before


def die(plan: Plan) -> list[dict[str, str]]:
    """Run a writer to its death; returns what it reported before."""
    with writing(plan) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    return [json.loads(line) for line in output.splitlines()]


MANY_DAYS = [
    pytest.param("publish.after_lease=kill@3", marks=pytest.mark.crash),
    pytest.param("publish.after_copy=kill@3", marks=pytest.mark.crash),
    "publish.before_commit=kill@3",
    "publish.after_commit=kill@3",
]


@pytest.mark.parametrize("failpoint", MANY_DAYS)
def test_many_days_survive_a_kill(database: str, failpoint: str) -> None:
    # Half of the days are there already and are merged, the others are copied directly.
    run(Plan(database, day_count=4, row_count=OLD_ROWS, price=OLD))
    plan = Plan(database, day_count=8, row_count=NEW_ROWS, price=NEW)
    reads: list[tuple[str, int]] = []

    with reading(database) as seen:
        reported = die(replace(plan, failpoints=failpoint))
        published = query(database, "SELECT DISTINCT day::text FROM prices WHERE price = 2")
        reports = run(plan, reads)

    assert_whole_days_only(seen)
    assert {report.state for report in reports} == {LoadState.SUCCESS}
    done = {day for (day,) in published}
    assert {line["day"] for line in reported} <= done
    assert done.isdisjoint(day for day, _ in reads)
    assert_target_is_new(database, 8)
    assert_nothing_is_left_over(database)
    assert_second_run_changes_nothing(plan)


# A plain run kills once while staging and once while publishing; the marker adds the others.
ONE_LARGE_DAY = [
    pytest.param("stage.after_copy=kill@3", marks=pytest.mark.crash),
    "stage.before_commit=kill@3",
    pytest.param("stage.after_commit=kill@3", marks=pytest.mark.crash),
    "publish.before_commit=kill@1",
    pytest.param("publish.after_commit=kill@1", marks=pytest.mark.crash),
]


@pytest.mark.crash
@pytest.mark.parametrize("old_rows", [0, OLD_ROWS], ids=["empty", "merged"])
@pytest.mark.parametrize("failpoint", ONE_LARGE_DAY)
def test_a_day_larger_than_a_chunk_survives_a_kill(
    database: str, failpoint: str, old_rows: int
) -> None:
    if old_rows:
        run(Plan(database, day_count=1, row_count=OLD_ROWS, price=OLD))
    plan = Plan(database, day_count=1, row_count=NEW_ROWS, price=NEW, chunk_rows=500)
    reads: list[tuple[str, int]] = []

    with reading(database) as seen:
        die(replace(plan, failpoints=failpoint))
        staged = query(database, "SELECT coalesce(sum(rows_read), 0)::int FROM ops.checkpoints")
        reports = run(plan, reads)

    assert_whole_days_only(seen)
    assert {report.state for report in reports} == {LoadState.SUCCESS}
    if failpoint.startswith("publish.after_commit"):
        assert reads == []
    else:
        # Promise P4: what is staged is not read again, and what is not is read once.
        first_rows = [row for _, row in reads]
        assert first_rows == list(range(int(str(staged[0][0])), NEW_ROWS, BATCH_ROWS))
    assert_target_is_new(database, 1)
    assert_nothing_is_left_over(database)
    assert_second_run_changes_nothing(plan)


@pytest.mark.crash
def test_a_kill_in_the_middle_of_copy_leaves_nothing_of_the_day(database: str) -> None:
    rows = 200_000
    plan = Plan(database, 1, rows, NEW, chunk_rows=10**6, batch_rows=20_000, publish_connections=1)

    def is_copying() -> bool:
        found = query(database, "SELECT tuples_processed FROM pg_stat_progress_copy")
        return any(int(str(done)) > 0 for (done,) in found)

    with writing(plan) as process:
        wait_until(is_copying, "rows on their way", seconds=60)
        process.kill()
        process.wait(timeout=30)
    assert query(database, "SELECT count(*) FROM prices") == [(0,)]
    [report] = run(plan)

    assert report.ledger.inserted == rows
    assert_nothing_is_left_over(database)


@pytest.mark.crash
@pytest.mark.parametrize(
    ("failpoint", "chunk_rows"),
    [
        ("publish.after_copy=stop", 65_536),
        ("publish.before_commit=stop", 65_536),
        ("stage.after_commit=stop@2", 500),
        ("stage.after_copy=stop@2", 500),
    ],
)
def test_a_writer_that_wakes_up_after_a_takeover_publishes_nothing(
    database: str, failpoint: str, chunk_rows: int
) -> None:
    stopped = Plan(
        database, 1, OLD_ROWS, OLD, failpoints=failpoint, chunk_rows=chunk_rows, lease_seconds=1.0
    )
    plan = Plan(database, 1, NEW_ROWS, NEW)

    with writing(stopped) as process:
        wait_until(lambda: _is_stopped(process), "the writer to stop itself")
        [report] = run(plan)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)

    [said] = [json.loads(line) for line in output.splitlines()]
    assert said["error"] in ("LeaseLost", "DatabaseUnavailable")
    assert report.ledger.inserted == NEW_ROWS
    assert_target_is_new(database, 1)
    assert query(database, "SELECT state FROM ops.loads WHERE state = 'running'") == []


@pytest.mark.crash
def test_a_backend_ended_while_a_day_is_staged_costs_one_chunk(database: str) -> None:
    plan = Plan(database, 1, NEW_ROWS, NEW, chunk_rows=500)
    with writing(replace(plan, failpoints="stage.after_copy=stop@3")) as process:
        wait_until(lambda: _is_stopped(process), "the writer to stop itself")
        with connector(database)() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(backend_pid, 5000) FROM ops.leases"
            ).fetchall()
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)
    reads: list[tuple[str, int]] = []

    [report] = run(plan, reads)

    assert json.loads(output)["error"] == "DatabaseUnavailable"
    assert report.ledger.inserted == NEW_ROWS
    assert reads[0][1] == 1_000
    assert_nothing_is_left_over(database)


def _is_stopped(process: "subprocess.Popen[str]") -> bool:
    assert process.poll() is None, "the writer ended"
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def test_reading_never_blocks_a_publish(database: str) -> None:
    run(Plan(database, 2, OLD_ROWS, OLD))
    with psycopg.connect(database) as conn:
        conn.execute("SELECT count(*) FROM prices").fetchone()

        reports = run(Plan(database, 2, NEW_ROWS, NEW))

    assert [report.error for report in reports] == [None, None]
