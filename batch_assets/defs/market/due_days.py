"""Which days a feed's schedule asks for."""

from datetime import date, datetime

from batch_assets.defs.market.assets import cache_dir_of
from batch_assets.settings import Settings
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.due import correction_window, newest_due_day
from batch_assets.sources.market.feed import Feed


def find_due_days(feed: Feed, settings: Settings, now: datetime) -> tuple[date, date]:
    """First and last day: the one that is due, and the sessions before it that are read again."""
    last = newest_due_day(feed, now)
    return min(last, _first_reread(feed, settings, now) or last), last


def _first_reread(feed: Feed, settings: Settings, now: datetime) -> date | None:
    if not feed.reread_sessions:
        return None
    calendar = open_calendar(
        feed.calendar_name,
        cache_dir_of(settings),
        today=now.date(),
        user_file=feed.calendar_file,
    )
    window = correction_window(feed, calendar, now)
    # Days before it are no partitions.
    earliest = max(settings.dagster.first_day, feed.first_day or settings.dagster.first_day)
    return None if window is None else max(window.first, earliest)
