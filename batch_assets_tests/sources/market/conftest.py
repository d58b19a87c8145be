"""Small feeds of files that the tests write."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batch_assets.sources.market.feed import Feed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.source import MarketSource

HEADER = "date,symbol,open,high,low,close,volume,amount"
NOW = datetime(2024, 10, 20, tzinfo=UTC)


def bar(day: str, symbol: str, close: str = "10.0", volume: str = "100") -> str:
    return f"{day},{symbol},10.0,11.0,9.0,{close},{volume},1000"


def text_of(*lines: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


FeedMaker = Callable[..., Feed]
SourceMaker = Callable[..., MarketSource]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bars"
    path.mkdir()
    return path


@pytest.fixture
def make_feed(folder: Path, tmp_path: Path) -> FeedMaker:
    def make(**settings: Any) -> Feed:
        body: dict[str, Any] = {
            "folder": "bars",
            "layout": "by_day",
            "files": "{date}.csv",
            "calendar": "XSHG",
            "symbol": {"style": "cn"},
        }
        body |= settings
        return build_feeds({"feeds": {"small": body}}, tmp_path)["small"]

    return make


@pytest.fixture
def make_source(make_feed: FeedMaker, calendar_cache: Path) -> SourceMaker:
    def make(**settings: Any) -> MarketSource:
        return open_feed(make_feed(**settings), calendar_cache)

    return make


@pytest.fixture(scope="session")
def calendar_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests: the first use of a calendar takes seconds."""
    return tmp_path_factory.mktemp("cache")
