import dagster as dg
import psycopg
import pytest
from pydantic import PrivateAttr

from batch_assets.defs.common import retries
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.errors import DatabaseUnavailable, RejectLimitExceeded
from batch_assets_tests.defs.market_files import (
    GOOD,
    GOOD_TOO,
    Market,
    day_text,
    failure_text,
    materializations,
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.0)


class Interrupted(PostgresCopyResource):
    """Connections of which the server ends the first few, as a restart would."""

    lost: int
    _opened: int = PrivateAttr(default=0)

    def connect(self) -> psycopg.Connection:
        conn = super().connect()
        self._opened += 1
        if self._opened <= self.lost:
            with psycopg.connect(self.resolved_url(), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])
        return conn


class Misprogrammed(PostgresCopyResource):
    """A resource with an error of programming in it."""

    def connect(self) -> psycopg.Connection:
        raise KeyError("no such attribute")


def attempts(result: dg.ExecuteInProcessResult) -> int:
    """How often the step began, the first time included."""
    starts = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)
    return sum(event.event_type in starts for event in result.all_events)


def test_lost_connection_is_tried_again(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD, postgres=Interrupted(url=market.url, lost=1))

    assert result.success
    assert attempts(result) == 2
    assert market.stored_days("cn") == {GOOD: 5}
    # Every try asks the same resource; the day is materialised once.
    assert materializations(result)[GOOD].metadata["rows_inserted"].value == 5


def test_database_that_stays_away_fails_the_step_in_the_end(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD, postgres=Interrupted(url=market.url, lost=1000))

    assert not result.success
    assert attempts(result) == 1 + retries.MAX_RETRIES
    assert "PostgreSQL: " in failure_text(result)
    assert "batch-assets doctor" in failure_text(result)


def test_data_error_is_not_tried_again(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5, bad=5))

    result = market.sync(GOOD)

    assert not result.success
    assert attempts(result) == 1
    assert "5 of 10 rows were rejected" in failure_text(result)


def test_error_of_programming_is_not_tried_again(market: Market) -> None:
    result = market.sync(GOOD, postgres=Misprogrammed(url=market.url))

    assert not result.success
    assert attempts(result) == 1
    assert "no such attribute" in failure_text(result)


def test_days_committed_before_the_loss_are_not_loaded_twice(market: Market) -> None:
    for day in (GOOD, GOOD_TOO):
        market.write("cn", day, day_text(day, 5))
    market.sync(GOOD)

    result = market.sync(GOOD, GOOD_TOO, postgres=Interrupted(url=market.url, lost=1))

    assert result.success
    assert market.stored_days("cn") == {GOOD: 5, GOOD_TOO: 5}
    assert market.rows("SELECT max(revision) FROM market.daily_bars") == [(1,)]


def test_only_retryable_errors_ask_for_another_try() -> None:
    with pytest.raises(dg.RetryRequested) as again, translating_failures(attempt=0):
        raise DatabaseUnavailable("the server is restarting")
    with pytest.raises(dg.Failure) as final, translating_failures(attempt=0):
        raise RejectLimitExceeded("too many")

    assert again.value.max_retries == retries.MAX_RETRIES
    assert isinstance(again.value.__cause__, DatabaseUnavailable)
    assert final.value.description == "RejectLimitExceeded: too many"
    assert not final.value.allow_retries


def test_raw_driver_error_of_a_lost_connection_asks_for_another_try() -> None:
    with pytest.raises(dg.RetryRequested), translating_failures(attempt=0):
        raise psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("attempt", [0, 1, 2])
def test_wait_is_drawn_below_a_bound_that_doubles(
    attempt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 2.0)
    waits = []
    for _ in range(50):
        with pytest.raises(dg.RetryRequested) as again, translating_failures(attempt):
            raise DatabaseUnavailable("away")
        waits.append(again.value.seconds_to_wait or 0.0)

    assert all(0 <= wait <= 2.0 * 2**attempt for wait in waits)
    assert max(waits) > 2.0**attempt
    assert len(set(waits)) > 1
