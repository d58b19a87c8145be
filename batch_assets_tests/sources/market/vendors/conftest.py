"""Feeds of vendors on loopback, with time-outs that end within a test."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from batch_assets.contracts.batch import SourceBatch
from batch_assets.sources.market.feed import VendorFeed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.source import DayInput, MarketSource
from batch_assets_tests.fakes.baostock_server import BaostockServer

NOW = datetime(2024, 10, 20, tzinfo=UTC)
DAY = date(2024, 9, 30)
NEXT_DAY = date(2024, 10, 8)
HOLIDAY = date(2024, 10, 1)
US_DAYS = (date(2024, 9, 30), date(2024, 10, 1), date(2024, 10, 2))

QUICK = {
    "attempts": 2,
    "first_wait_seconds": 0.01,
    "max_wait_seconds": 0.2,
    "connection_wait_seconds": 0.2,
    "connect_timeout_seconds": 5.0,
    # A good answer is never too late, however busy the machine is.
    "read_timeout_seconds": 5.0,
    "reply_timeout_seconds": 10.0,
}
# The faults that only a time-out ends, each with the one that is meant to end it.
TIMES_OF_FAULT = {
    "silent": {"read_timeout_seconds": 1.0},
    "no_end": {"read_timeout_seconds": 1.0},
    "drip": {"reply_timeout_seconds": 1.5},
    "drip_head": {"reply_timeout_seconds": 1.5},
}
# What a fault may take: two attempts of such a time-out, and slack for a busy machine. Without a
# time-out a silent server takes 30 s, and one that drips minutes.
BOUND_SECONDS = 28.0

VendorSourceMaker = Callable[..., MarketSource]


def secret(name: str) -> SecretStr | None:
    """Every variable that a vendor's defaults name holds the token of the fakes."""
    return SecretStr("token") if name.endswith(("TOKEN", "KEY")) else None


def build_vendor_feed(vendor: str, **settings: Any) -> VendorFeed:
    body = {"vendor": vendor, **QUICK, **settings}
    feed = build_feeds({"feeds": {"vendor": body}}, Path())["vendor"]
    assert isinstance(feed, VendorFeed)
    return feed


@pytest.fixture
def make_vendor_source(calendar_cache: Path, tmp_path: Path) -> Iterator[VendorSourceMaker]:
    made: list[MarketSource] = []

    def make(vendor: str, *, days: Sequence[date] = (), **settings: Any) -> MarketSource:
        feed = build_vendor_feed(vendor, **settings)
        cache = tmp_path / "cache"
        cache.mkdir(exist_ok=True)
        if not (cache / "calendars").exists():
            (cache / "calendars").symlink_to(calendars_of(calendar_cache))
        made.append(open_feed(feed, cache, secret=secret, days=days))
        return made[-1]

    yield make
    for source in made:
        source.close()


def calendars_of(cache: Path) -> Path:
    folder = cache / "calendars"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def rows_of(opened: DayInput) -> list[dict[str, Any]]:
    return [row for batch in opened.read() for row in batch.rows.to_pylist()]


def batch_of(opened: DayInput) -> SourceBatch:
    (batch,) = opened.read()
    return batch


@pytest.fixture
def baostock_server() -> Iterator[BaostockServer]:
    with BaostockServer() as server:
        yield server
