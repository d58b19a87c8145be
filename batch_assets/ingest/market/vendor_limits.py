"""The limit of a vendor's feed, kept in PostgreSQL, so that it holds for all runs on all hosts."""

import threading

import psycopg

from batch_assets.errors import SourceRateLimited, SourceUnavailable
from batch_assets.loading.leases import Connector
from batch_assets.postgres.rate_limits import (
    RateLimit,
    block_for,
    record_failure,
    record_success,
    set_limit,
    take,
)
from batch_assets.sources.market.feed import Feed, VendorFeed

# A vendor that counts by the minute sees at most what is saved up and what flows in meanwhile.
_SAVED_RATIO = 0.1
_SECONDS_IN_MINUTE = 60.0


class PostgresThrottle:
    """Takes permits from a token bucket; opens its connection when it is first asked.

    A lock makes it usable by the threads that ask by symbol.
    """

    def __init__(self, connect: Connector, limit: RateLimit) -> None:
        self._connect = connect
        self._limit = limit
        self._conn: psycopg.Connection | None = None
        self._is_troubled = False
        self._lock = threading.Lock()

    def take(self) -> float:
        """See Throttle."""
        with self._lock:
            permit = take(self._opened(), self._limit.name)
            self._is_troubled = permit.is_troubled
            return permit.wait_seconds

    def succeeded(self) -> None:
        """See Throttle."""
        # Success is the rule: only failures on record are worth a statement.
        if not self._is_troubled:
            return
        with self._lock:
            record_success(self._opened(), self._limit.name)
            self._is_troubled = False

    def failed(self, error: SourceUnavailable) -> None:
        """See Throttle."""
        with self._lock:
            self._is_troubled = True
            if isinstance(error, SourceRateLimited):
                # The vendor is up, and wants silence from all of us.
                block_for(self._opened(), self._limit.name, error.retry_after_seconds)
            else:
                record_failure(self._opened(), self._limit.name)

    def close(self) -> None:
        """See Throttle."""
        with self._lock:
            if self._conn is not None:
                self._conn.close()
                self._conn = None

    def _opened(self) -> psycopg.Connection:
        if self._conn is None:
            conn = self._connect()
            conn.autocommit = True
            # A crash of the server may forget the last permits, and none of our questions waits
            # for its disk.
            conn.execute("SET synchronous_commit = off")
            set_limit(conn, self._limit)
            self._conn = conn
        return self._conn


def limit_of(feed: VendorFeed) -> RateLimit | None:
    """The token bucket of a feed; None where it has no limit."""
    if feed.requests_per_minute is None:
        return None
    per_minute = feed.requests_per_minute
    capacity = max(1.0, per_minute * _SAVED_RATIO)
    flowing = per_minute - capacity if per_minute > capacity else per_minute
    return RateLimit(
        name=f"{feed.vendor} {feed.address}",
        capacity=capacity,
        refill_per_second=flowing / _SECONDS_IN_MINUTE,
    )


def throttle_of(feed: Feed, connect: Connector) -> PostgresThrottle | None:
    """What says when a feed's vendor may be asked; None where nothing has to."""
    limit = limit_of(feed) if isinstance(feed, VendorFeed) else None
    return None if limit is None else PostgresThrottle(connect, limit)
