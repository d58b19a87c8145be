"""Every block of docs/feeds-cookbook.md is a feed, and loads the real files it was written for."""

import tomllib
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from batch_assets.ingest.market.daily_bars import options_of, sync_days
from batch_assets.loading.report import LoadState
from batch_assets.postgres.connect import connect
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.feed import FileFeed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets_tests.docs.pages import PROJECT, list_blocks
from batch_assets_tests.sources.market.test_shared_families import FEEDS, MARKET, days_of

PAGE = PROJECT / "docs" / "feeds-cookbook.md"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def feeds_of_the_page() -> dict[str, FileFeed]:
    text = '[market]\ndefault_feed = "xlsx"\n' + "\n".join(list_blocks(PAGE, "toml"))
    section = tomllib.loads(text)["market"]
    for feed in section["feeds"].values():
        feed["folder"] = str(MARKET / Path(feed["folder"]).relative_to("data"))
    return {
        name: feed
        for name, feed in build_feeds(section, PROJECT).items()
        if isinstance(feed, FileFeed)
    }


ON_THE_PAGE = feeds_of_the_page()


def test_every_family_is_on_the_page_as_the_suite_loads_it() -> None:
    def mapping(feed: object) -> dict[str, object]:
        assert isinstance(feed, FileFeed)
        return {**feed.model_dump(), "folder": feed.folder.resolve()}

    assert {name: mapping(feed) for name, feed in ON_THE_PAGE.items()} == {
        name: mapping(feed) for name, feed in FEEDS.items()
    }


@pytest.mark.shared_data
@pytest.mark.long
@pytest.mark.parametrize("name", ON_THE_PAGE)
def test_every_feed_of_the_cookbook_loads(
    name: str, postgres: str, shared_market: Path, tmp_path: Path
) -> None:
    feed = ON_THE_PAGE[name]

    (report,) = sync_days(
        partial(connect, postgres, application_name="test"),
        feed,
        open_feed(feed, tmp_path),
        [days_of(feed)[-1]],
        now=NOW,
        options=options_of(feed, LoadingSettings()),
    )

    assert report.load.state is LoadState.SUCCESS
    assert report.load.ledger.inserted == report.load.ledger.read > 0
