"""Which trade dates should have their rows by now, and which are read again for corrections."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from batch_assets.sources.market.calendar import SessionCalendar, open_calendar
from batch_assets.sources.market.feed import Feed

_SATURDAY = 5


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


@dataclass(frozen=True, slots=True)
class CorrectionWindow:
    """Sessions that a vendor may still correct.

    Attributes:
        first: The oldest of them.
        last: The newest session that is due.
        due_at: Since when the newest is due: a session read before that is due to be read again.
    """

    first: date
    last: date
    due_at: datetime


def correction_window(
    feed: Feed, calendar: SessionCalendar, now: datetime
) -> CorrectionWindow | None:
    """The newest due session and the `reread_sessions` before it; None where there are none.

    Args:
        feed: Says how many.
        calendar: Of its exchange; a weekday that it does not cover counts as a session.
        now: The present, aware.
    """
    if not feed.reread_sessions:
        return None
    newest = newest_due_day(feed, now)
    found: list[date] = []
    # Holidays close an exchange for eleven days at most; a year without sessions has no window.
    for back in range(2 * feed.reread_sessions + 30):
        day = newest - timedelta(days=back)
        is_open = calendar.is_session(day)
        if is_open or (is_open is None and day.weekday() < _SATURDAY):
            found.append(day)
        if len(found) > feed.reread_sessions:
            break
    if not found:
        return None
    return CorrectionWindow(found[-1], found[0], feed.ready_on(found[0]))
