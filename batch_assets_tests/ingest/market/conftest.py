"""Fake vendors with the bars of `vendor_runs`, and a feed of each way of asking."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_assets_tests.fakes.bars import Bar
from batch_assets_tests.fakes.http_vendor import HttpVendorServer
from batch_assets_tests.fakes.vendor_answers import eastmoney_answers, tushare_answers
from batch_assets_tests.ingest.market.vendor_runs import SESSIONS, SYMBOLS, Runs, bars_of
from batch_assets_tests.sources.market.vendors.conftest import build_vendor_feed


@pytest.fixture
def market() -> dict[str, list[Bar]]:
    return {day.isoformat(): bars_of(day) for day in SESSIONS}


@pytest.fixture
def tushare(market: dict[str, list[Bar]]) -> Iterator[HttpVendorServer]:
    with HttpVendorServer(tushare_answers(market)) as server:
        yield server


@pytest.fixture
def eastmoney(market: dict[str, list[Bar]]) -> Iterator[HttpVendorServer]:
    with HttpVendorServer(eastmoney_answers(market)) as server:
        yield server


@pytest.fixture(scope="module")
def calendar_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calendars")


@pytest.fixture
def cache_dir(calendar_cache: Path, tmp_path: Path) -> Path:
    (calendar_cache / "calendars").mkdir(parents=True, exist_ok=True)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "calendars").symlink_to(calendar_cache / "calendars")
    return cache


@pytest.fixture
def by_day(postgres: str, cache_dir: Path, tushare: HttpVendorServer) -> Runs:
    feed = build_vendor_feed("tushare", base_url=tushare.base_url)
    return Runs(postgres, cache_dir, feed)


@pytest.fixture
def by_symbol(postgres: str, cache_dir: Path, eastmoney: HttpVendorServer) -> Runs:
    feed = build_vendor_feed("eastmoney", base_url=eastmoney.base_url, symbols=SYMBOLS)
    return Runs(postgres, cache_dir, feed)
