"""Which trade date is the newest whose rows should be there by now."""

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.feed import Feed


def newest_due_day(feed: Feed, now: datetime) -> date:
    """The newest calendar day whose rows are due, open or not.

    Args:
        now: The present, aware.
    """
    day = now.astimezone(ZoneInfo(feed.zone_name)).date()
    while feed.ready_on(day) > now:
        day -= timedelta(days=1)
    return day


def newest_due_session(feed: Feed, now: datetime, cache_dir: Path) -> date | None:
    """The newest session whose rows are due; None where no calendar says.

    Args:
        now: The present, aware.
        cache_dir: Folder of computed calendars.
    """
    day = newest_due_day(feed, now)
    calendar = open_calendar(
        feed.calendar_name, cache_dir, today=now.date(), user_file=feed.calendar_file
    )
    if calendar.is_session(day):
        return day
    return calendar.previous_session(day)
