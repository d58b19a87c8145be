"""Token buckets and breakers that several processes share."""

import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from batch_assets.errors import ConfigurationError, ContractError
from batch_assets.postgres.rate_limits import (
    BreakerState,
    LimitStatus,
    PermitCause,
    RateLimit,
    block_for,
    read_limits,
    record_failure,
    record_success,
    set_limit,
    take,
)

SLOW = RateLimit("vendor", 3, 0.01, failure_threshold=3, cool_down_seconds=60)


@pytest.fixture
def conn(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as conn:
        yield conn


def let_time_pass(conn: psycopg.Connection, seconds: float) -> None:
    """As if the database's clock had gone on: every instant of the row moves into the past."""
    conn.execute(
        "UPDATE ops.rate_limits SET updated_at = updated_at - d, blocked_until = blocked_until - d,"
        " opened_at = opened_at - d, probe_until = probe_until - d"
        " FROM make_interval(secs => %s) AS d",
        (seconds,),
    )


def only_limit(conn: psycopg.Connection) -> LimitStatus:
    [status] = read_limits(conn)
    return status


def test_full_bucket_gives_its_capacity_and_then_says_how_long_to_wait(
    conn: psycopg.Connection,
) -> None:
    set_limit(conn, SLOW)

    permits = [take(conn, "vendor") for _ in range(4)]

    assert [permit.is_granted for permit in permits] == [True, True, True, False]
    assert [permit.wait_seconds for permit in permits[:3]] == [0, 0, 0]
    assert permits[3].cause is PermitCause.NO_TOKENS
    assert permits[3].wait_seconds == pytest.approx(100, abs=1)


def test_refused_request_takes_nothing(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    take(conn, "vendor", 2)

    assert not take(conn, "vendor", 2).is_granted
    assert take(conn, "vendor", 1).is_granted


def test_bucket_refills_with_time_and_never_above_its_capacity(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    take(conn, "vendor", 3)

    let_time_pass(conn, 150)
    assert only_limit(conn).tokens == pytest.approx(1.5, abs=0.01)
    assert take(conn, "vendor").tokens_left == pytest.approx(0.5, abs=0.01)

    let_time_pass(conn, 1_000_000)
    assert only_limit(conn).tokens == 3
    assert take(conn, "vendor", 3).is_granted
    assert not take(conn, "vendor").is_granted


def test_waiting_as_long_as_told_is_long_enough(conn: psycopg.Connection) -> None:
    set_limit(conn, RateLimit("vendor", 1, 7.3))
    for _ in range(20):
        permit = take(conn, "vendor")
        if not permit.is_granted:
            let_time_pass(conn, permit.wait_seconds)
            assert take(conn, "vendor").is_granted


def test_clock_that_is_set_back_neither_gives_nor_takes(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    take(conn, "vendor", 2)

    let_time_pass(conn, -3600)

    assert take(conn, "vendor").is_granted
    assert not take(conn, "vendor").is_granted
    assert only_limit(conn).tokens == pytest.approx(0, abs=0.01)


def test_retry_after_blocks_whatever_tokens_there_are(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)

    block_for(conn, "vendor", 120)
    block_for(conn, "vendor", 5)

    permit = take(conn, "vendor")
    assert permit.cause is PermitCause.BLOCKED
    assert permit.wait_seconds == pytest.approx(120, abs=1)
    assert only_limit(conn).blocked_until is not None

    let_time_pass(conn, 121)
    assert take(conn, "vendor").is_granted
    assert only_limit(conn).blocked_until is None


def test_breaker_opens_after_failures_in_a_row_and_lets_one_probe_pass(
    conn: psycopg.Connection,
) -> None:
    set_limit(conn, SLOW)

    states = [record_failure(conn, "vendor") for _ in range(3)]
    refused = take(conn, "vendor")
    let_time_pass(conn, 61)
    probe, other = take(conn, "vendor"), take(conn, "vendor")

    assert states == [BreakerState.CLOSED, BreakerState.CLOSED, BreakerState.OPEN]
    assert refused.cause is PermitCause.BREAKER_OPEN
    assert refused.wait_seconds == pytest.approx(60, abs=1)
    assert (probe.is_granted, probe.is_probe) == (True, True)
    assert (other.is_granted, other.cause) == (False, PermitCause.BREAKER_HALF_OPEN)


def test_probe_that_succeeds_closes_the_breaker(conn: psycopg.Connection) -> None:
    set_limit(conn, RateLimit("vendor", 10, 1, failure_threshold=1))
    record_failure(conn, "vendor")
    let_time_pass(conn, 61)
    take(conn, "vendor")

    record_success(conn, "vendor")

    permit = take(conn, "vendor")
    assert (permit.is_granted, permit.is_probe) == (True, False)
    assert only_limit(conn).failures == 0


def test_probe_that_fails_opens_the_breaker_for_another_cool_down(
    conn: psycopg.Connection,
) -> None:
    set_limit(conn, SLOW)
    for _ in range(3):
        record_failure(conn, "vendor")
    let_time_pass(conn, 61)
    take(conn, "vendor")

    assert record_failure(conn, "vendor") is BreakerState.OPEN
    assert take(conn, "vendor").wait_seconds == pytest.approx(60, abs=1)


def test_late_failures_do_not_prolong_the_cool_down(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    for _ in range(3):
        record_failure(conn, "vendor")
    let_time_pass(conn, 50)

    record_failure(conn, "vendor")

    assert take(conn, "vendor").wait_seconds == pytest.approx(10, abs=1)


def test_probe_that_never_reports_is_followed_by_another(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    for _ in range(3):
        record_failure(conn, "vendor")
    let_time_pass(conn, 61)
    take(conn, "vendor")

    let_time_pass(conn, 61)

    assert take(conn, "vendor").is_probe


def test_success_between_failures_keeps_the_breaker_closed(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    for _ in range(5):
        record_failure(conn, "vendor")
        record_failure(conn, "vendor")
        record_success(conn, "vendor")

    assert only_limit(conn).breaker_state is BreakerState.CLOSED


def test_setting_a_limit_again_gives_no_tokens_away(conn: psycopg.Connection) -> None:
    set_limit(conn, SLOW)
    take(conn, "vendor", 3)

    set_limit(conn, SLOW)
    assert not take(conn, "vendor").is_granted
    set_limit(conn, RateLimit("vendor", 10, 0.01))
    assert not take(conn, "vendor").is_granted
    assert only_limit(conn).capacity == 10


def test_smaller_capacity_takes_surplus_tokens_away(conn: psycopg.Connection) -> None:
    set_limit(conn, RateLimit("vendor", 100, 0.01))

    set_limit(conn, SLOW)

    assert only_limit(conn).tokens == 3


@pytest.mark.parametrize(
    "limit",
    [
        RateLimit("vendor", 0.5, 1),
        RateLimit("vendor", 1, 0),
        RateLimit("vendor", 1, 1, failure_threshold=0),
        RateLimit("vendor", 1, 1, cool_down_seconds=0),
    ],
)
def test_limit_that_makes_no_sense_is_refused(conn: psycopg.Connection, limit: RateLimit) -> None:
    with pytest.raises(ConfigurationError, match="correct the feed's limits"):
        set_limit(conn, limit)


def test_unknown_limit_and_impossible_requests_are_refused(conn: psycopg.Connection) -> None:
    with pytest.raises(ConfigurationError, match="call set_limit first"):
        take(conn, "vendor")
    with pytest.raises(ConfigurationError, match="call set_limit first"):
        record_failure(conn, "vendor")
    set_limit(conn, SLOW)
    with pytest.raises(ConfigurationError, match="raise the capacity"):
        take(conn, "vendor", 4)
    with pytest.raises(ContractError, match="expected more than 0"):
        take(conn, "vendor", 0)


def test_connection_with_transactions_is_refused(postgres: str) -> None:
    with psycopg.connect(postgres) as conn, pytest.raises(ContractError, match="autocommit"):
        take(conn, "vendor")


_WORKER = """
import sys, time
import psycopg
from batch_assets.postgres.rate_limits import take
granted = 0
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    print("ready", flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        permit = take(conn, "vendor")
        granted += permit.is_granted
        if permit.wait_seconds:
            time.sleep(min(permit.wait_seconds, 0.02))
print(granted)
"""


@pytest.mark.long
def test_eight_processes_together_never_get_more_than_capacity_and_refill(
    postgres: str, conn: psycopg.Connection
) -> None:
    set_limit(conn, RateLimit("vendor", 20, 50))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, postgres],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    [began] = conn.execute("SELECT clock_timestamp()").fetchone()

    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    granted = [int(worker.communicate(timeout=30)[0]) for worker in workers]

    [seconds] = conn.execute(
        "SELECT extract(epoch FROM updated_at - %s)::float8 FROM ops.rate_limits", (began,)
    ).fetchone()
    assert sum(granted) <= 20 + 50 * seconds
    assert sum(granted) > 20
