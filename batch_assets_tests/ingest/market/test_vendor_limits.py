import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from batch_assets.errors import SourceRateLimited, SourceUnavailable
from batch_assets.ingest.market.vendor_limits import PostgresThrottle, limit_of, throttle_of
from batch_assets.postgres.connect import connect
from batch_assets.postgres.rate_limits import RateLimit, read_limits
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.fakes.bars import a_share_market
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import tushare_answers
from batch_assets_tests.sources.market.vendors.conftest import (
    DAY,
    NEXT_DAY,
    NOW,
    build_vendor_feed,
    secret,
)

Opener = Callable[..., PostgresThrottle]


@pytest.fixture
def open_throttle(postgres: str) -> Iterator[Opener]:
    with ExitStack() as opened:

        def make(limit: RateLimit) -> PostgresThrottle:
            throttle = PostgresThrottle(partial(connect, postgres, application_name="test"), limit)
            opened.callback(throttle.close)
            return throttle

        yield make


def limit(capacity: float, per_second: float) -> RateLimit:
    return RateLimit("vendor", capacity, per_second, failure_threshold=3, cool_down_seconds=30)


def test_two_runs_share_one_limit(open_throttle: Opener) -> None:
    one, other = (open_throttle(limit(3, 0.01)) for _ in range(2))

    waits = [throttle.take() for throttle in (one, other, one, other)]

    assert waits[:3] == [0, 0, 0]
    assert 50 < waits[3] <= 100


def test_a_vendors_wish_for_silence_holds_for_every_run(open_throttle: Opener) -> None:
    one, other = (open_throttle(limit(100, 10)) for _ in range(2))

    one.failed(SourceRateLimited("slow down", retry_after_seconds=40))

    assert 35 < other.take() <= 40


def test_failures_in_a_row_close_the_vendor_for_every_run(open_throttle: Opener) -> None:
    one, other = (open_throttle(limit(100, 10)) for _ in range(2))

    for _ in range(3):
        assert one.take() == 0
        one.failed(SourceUnavailable("down"))

    assert 25 < other.take() <= 30


def test_a_success_of_one_run_wipes_out_the_failures_of_another(
    open_throttle: Opener, postgres: str
) -> None:
    one, other = (open_throttle(limit(100, 10)) for _ in range(2))
    one.take()
    one.failed(SourceUnavailable("no answer"))

    other.take()
    other.succeeded()

    with connect(postgres, application_name="test") as conn:
        assert [status.failures for status in read_limits(conn)] == [0]


def test_a_vendor_that_counts_minutes_never_sees_more_than_its_limit() -> None:
    for per_minute in (2, 5, 500):
        feed = build_vendor_feed("tushare", requests_per_minute=per_minute)

        bucket = limit_of(feed)

        assert bucket is not None
        assert bucket.capacity + 60 * bucket.refill_per_second <= per_minute + 1e-9


def test_feeds_without_a_limit_are_not_throttled(postgres: str) -> None:
    open_connection = partial(connect, postgres, application_name="test")

    assert throttle_of(build_vendor_feed("baostock"), open_connection) is None
    assert throttle_of(build_vendor_feed("massive"), open_connection) is not None


def test_a_used_up_limit_fails_the_day_and_says_when_to_come_back(
    postgres: str, tmp_path: Path
) -> None:
    market = {day.isoformat(): a_share_market(day) for day in (DAY, NEXT_DAY)}
    open_connection = partial(connect, postgres, application_name="test")
    with HttpVendorServer(tushare_answers(market)) as server:
        feed = build_vendor_feed("tushare", base_url=server.base_url, requests_per_minute=1)
        source = open_feed(
            feed, tmp_path, secret=secret, throttle=throttle_of(feed, open_connection)
        )
        source.open_day(DAY, now=NOW)
        started = time.monotonic()

        with pytest.raises(SourceRateLimited, match=r"may not be asked for another .* s"):
            source.open_day(NEXT_DAY, now=NOW)

        # The permit would be there after a minute.
        assert time.monotonic() - started < 40
        source.close()
    with open_connection() as conn:
        (status,) = read_limits(conn)
    assert status.name == f"tushare {server.base_url}"
    assert status.tokens < 1
    assert len(server.requests) == 1
