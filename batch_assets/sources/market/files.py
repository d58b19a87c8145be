"""Feeds of files as market sources."""

from pathlib import Path

from batch_assets.sources.market.day_files import DayFileSource
from batch_assets.sources.market.feed import Feed, Layout
from batch_assets.sources.market.file_names import has_date
from batch_assets.sources.market.many_day_files import ManyDaySource
from batch_assets.sources.market.source import MarketSource


def open_feed(feed: Feed, cache_dir: Path) -> MarketSource:
    """The source of a feed; opens no file yet.

    Args:
        feed: The mapping.
        cache_dir: Folder for calendars and for the index of folders whose files hold many days.
    """
    if feed.layout is Layout.BY_DAY and has_date(feed.files):
        return DayFileSource(feed, cache_dir)
    return ManyDaySource(feed, cache_dir)
