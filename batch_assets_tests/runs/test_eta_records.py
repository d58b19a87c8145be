from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from batch_assets.ops.backfills.read import read_progress
from batch_assets.ops.backfills.requests import launch
from batch_assets.runs.eta_records import (
    KeptEstimates,
    judge_estimates,
    read_accuracy,
    read_estimate,
    record_estimate,
)
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load, plant_run, request

BEGIN = datetime(2024, 10, 1, tzinfo=UTC)


def work(conn: psycopg.Connection, keys: tuple[str, ...], run: str, after: int = 0) -> datetime:
    """Load the keys one after the other, ten seconds each; returns the last end."""
    for number, key in enumerate(keys, start=after):
        plant_load(conn, run, key, started_at=BEGIN + timedelta(seconds=10 * number), seconds=10.0)
    return BEGIN + timedelta(seconds=10 * (after + len(keys)))


def end(conn: psycopg.Connection, number: int, at: datetime, state: str = "success") -> int:
    conn.execute(
        "UPDATE ops.backfills SET state = %s, ended_at = %s WHERE backfill_id = %s",
        (state, at, number),
    )
    return judge_estimates(conn, number)


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres) as connection:
        launch(connection, request(), "ann")
        plant_run(connection, 1, "run-1")
        yield connection


def test_each_tenth_keeps_its_first_estimate_and_is_judged_at_the_end(
    conn: psycopg.Connection,
) -> None:
    assert read_estimate(conn, 1, work(conn, TEN_DAYS[:2], "run-1")) is None
    for done in range(3, 10):
        now = work(conn, TEN_DAYS[done - 1 : done], "run-1", after=done - 1)
        assert record_estimate(conn, 1, now) is not None
        assert record_estimate(conn, 1, now + timedelta(seconds=1)) is None
    assert read_accuracy(conn) is None
    progress = read_progress(conn, 1, BEGIN + timedelta(seconds=90))
    assert progress.eta is not None
    assert progress.eta.p50_at > BEGIN + timedelta(seconds=100)

    # An hour late: later than anybody expected.
    assert end(conn, 1, BEGIN + timedelta(hours=1)) == 7

    found = read_accuracy(conn, "cn")
    assert found is not None
    assert (found.backfills, found.estimates) == (1, 7)
    assert (found.later_than_p50_pct, found.later_than_p90_pct) == (100.0, 100.0)
    assert read_accuracy(conn, "us") is None


def test_estimates_before_a_pause_or_a_cancellation_are_not_judged(
    conn: psycopg.Connection,
) -> None:
    now = work(conn, TEN_DAYS[:4], "run-1")
    record_estimate(conn, 1, now)
    conn.execute(
        "INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions)"
        " VALUES ('resumed', 1, 6)"
    )
    record_estimate(conn, 1, work(conn, TEN_DAYS[4:6], "run-1", after=400))

    assert end(conn, 1, BEGIN + timedelta(hours=2), "canceled") == 0
    assert end(conn, 1, BEGIN + timedelta(hours=2)) == 1


def test_an_earlier_backfill_of_the_asset_tells_the_end_before_the_first_partition(
    conn: psycopg.Connection,
) -> None:
    work(conn, TEN_DAYS, "run-1")
    end(conn, 1, BEGIN + timedelta(seconds=115))
    launch(conn, request("2024-09-23", "2024-09-24", "2024-09-25"), "ann")
    launch(conn, request("2024-09-23", asset_key="market/us/daily_bars", feed="us"), "ann")

    found = read_estimate(conn, 2, BEGIN)

    assert found is not None
    # Three days of ten seconds, and fifteen until Dagster sees the end.
    assert 40 < (found.p50_at - BEGIN).total_seconds() < 60
    assert read_estimate(conn, 3, BEGIN) is None


def test_an_estimate_is_used_again_for_so_long_that_looking_costs_little(
    conn: psycopg.Connection,
) -> None:
    now = work(conn, TEN_DAYS[:4], "run-1")
    # Two seconds for each estimate, one later at each other look.
    clock = iter([0.0, 2.0, 300.0, 403.0, 404.0, 405.0, 407.0])
    estimates = KeptEstimates(lambda: next(clock))
    first = estimates.read(conn, 1, "running", now)
    later = work(conn, TEN_DAYS[4:8], "run-1", after=60)

    assert first is not None
    assert estimates.read(conn, 1, "running", now) == first
    renewed = estimates.read(conn, 1, "running", later)
    assert renewed == read_estimate(conn, 1, later) != first
    # A pause is another story: what was kept says nothing about it.
    paused = estimates.read(conn, 1, "paused", later + timedelta(seconds=1))
    assert paused == read_estimate(conn, 1, later + timedelta(seconds=1))
