"""How often an outside service may be asked: token buckets and circuit breakers in PostgreSQL.

They hold across processes, runs and hosts, because every question is one statement on one row,
on the database's clock. Nothing here waits or retries; a source asks, waits for what it is told,
and asks again.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import psycopg

from batch_assets.errors import ConfigurationError, ContractError
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What one service allows.

    Attributes:
        name: Whose limit it is (`tushare`).
        capacity: Requests that may be made at once after a pause; at least 1.
        refill_per_second: Requests per second in the long run.
        failure_threshold: Infrastructure failures in a row that open the breaker.
        cool_down_seconds: How long an open breaker lets nothing pass; then one probe may try.
    """

    name: str
    capacity: float
    refill_per_second: float
    failure_threshold: int = 5
    cool_down_seconds: float = 60.0


class PermitCause(StrEnum):
    """Why a permit was given, or what it waits for."""

    GRANTED = "granted"
    NO_TOKENS = "no_tokens"
    BLOCKED = "blocked"
    BREAKER_OPEN = "breaker_open"
    BREAKER_HALF_OPEN = "breaker_half_open"


class BreakerState(StrEnum):
    """Whether requests pass: all of them, none, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Permit:
    """The answer to one question.

    Attributes:
        is_granted: The request may be made now; its tokens are taken.
        wait_seconds: 0 if granted; else nothing was taken, and asking earlier is in vain.
        cause: What is waited for; the longest of several.
        tokens_left: Requests that could be made right after this one.
        is_probe: The breaker is half open, and this request decides: report how it ends.
        is_troubled: There are failures on record, which a success would wipe out.
    """

    is_granted: bool
    wait_seconds: float
    cause: PermitCause
    tokens_left: float
    is_probe: bool
    is_troubled: bool


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """What is left of one limit.

    Attributes:
        tokens: Requests that could be made now.
        blocked_until: The service asked for silence until then; None if it does not.
        failures: Infrastructure failures since the last success.
        opened_at: When the breaker last opened.
    """

    name: str
    capacity: float
    refill_per_second: float
    tokens: float
    blocked_until: datetime | None
    breaker_state: BreakerState
    failures: int
    opened_at: datetime | None


def set_limit(conn: psycopg.Connection, limit: RateLimit) -> None:
    """Say what a service allows; a limit already there keeps its tokens and its breaker.

    Raises:
        ConfigurationError: A figure makes no sense.
    """
    if limit.capacity < 1 or limit.refill_per_second <= 0:
        raise ConfigurationError(
            f"limit {limit.name!r} has capacity {limit.capacity} and {limit.refill_per_second} "
            "requests a second, expected a capacity of at least 1 and a rate above 0; "
            "correct the feed's limits"
        )
    if limit.failure_threshold < 1 or limit.cool_down_seconds <= 0:
        raise ConfigurationError(
            f"limit {limit.name!r} opens after {limit.failure_threshold} failures for "
            f"{limit.cool_down_seconds} s, expected at least 1 failure and a time above 0; "
            "correct the feed's limits"
        )
    _require_autocommit(conn)
    conn.execute(
        read_query("set_rate_limit"),
        {
            "name": limit.name,
            "capacity": limit.capacity,
            "refill_per_second": limit.refill_per_second,
            "failure_threshold": limit.failure_threshold,
            "cool_down_seconds": limit.cool_down_seconds,
        },
    )


def take(conn: psycopg.Connection, name: str, tokens: float = 1.0) -> Permit:
    """Take tokens if there are enough, and nothing blocks; never wait.

    Args:
        conn: A connection in autocommit: anything else would keep others waiting.
        name: Whose limit.
        tokens: How many; at most the limit's capacity.

    Raises:
        ConfigurationError: The limit is not known, or can never give so many.
        ContractError: The connection is not in autocommit.
    """
    if tokens <= 0:
        raise ContractError(f"{tokens} tokens of {name!r} were asked for, expected more than 0")
    _require_autocommit(conn)
    row = conn.execute(read_query("take_tokens"), {"name": name, "tokens": tokens}).fetchone()
    if row is None:
        raise ConfigurationError(
            f"limit {name!r} cannot give {tokens:g} tokens: it is not set, or its capacity is "
            "less; call set_limit first, or raise the capacity"
        )
    is_granted, wait_seconds, cause, tokens_left, is_probe, is_troubled = row
    return Permit(is_granted, wait_seconds, PermitCause(cause), tokens_left, is_probe, is_troubled)


def block_for(conn: psycopg.Connection, name: str, seconds: float) -> None:
    """Let nothing pass for some time (Retry-After); a longer block that is there stays."""
    _require_autocommit(conn)
    conn.execute(
        "UPDATE ops.rate_limits SET blocked_until = "
        "greatest(blocked_until, clock_timestamp() + make_interval(secs => %s)) WHERE name = %s",
        (seconds, name),
    )


def record_success(conn: psycopg.Connection, name: str) -> None:
    """The service answered: the breaker closes, and failures are counted anew."""
    _require_autocommit(conn)
    conn.execute(
        "UPDATE ops.rate_limits SET failures = 0, breaker_state = 'closed', probe_until = NULL "
        # Thousands of requests in a row succeed; they need not write each time.
        "WHERE name = %s AND (failures > 0 OR breaker_state <> 'closed')",
        (name,),
    )


def record_failure(conn: psycopg.Connection, name: str) -> BreakerState:
    """The service did not answer as a service should (time-out, reset, 5xx).

    Wrong data, a wrong token and a rate limit are no such failures.

    Returns:
        The breaker's state after it.

    Raises:
        ConfigurationError: The limit is not known.
    """
    _require_autocommit(conn)
    row = conn.execute(read_query("record_vendor_failure"), {"name": name}).fetchone()
    if row is None:
        raise ConfigurationError(f"limit {name!r} is not set; call set_limit first")
    return BreakerState(row[0])


def read_limits(conn: psycopg.Connection) -> list[LimitStatus]:
    """What is left of every limit, by name."""
    return [
        LimitStatus(name, capacity, rate, tokens, blocked, BreakerState(state), failures, opened)
        for name, capacity, rate, tokens, blocked, state, failures, opened in conn.execute(
            read_query("read_rate_limits")
        )
    ]


def _require_autocommit(conn: psycopg.Connection) -> None:
    if not conn.autocommit:
        raise ContractError(
            "the connection has a transaction, expected autocommit: a limit is shared by all "
            "processes and must not stay locked; open one with connect(..., autocommit=True)"
        )
