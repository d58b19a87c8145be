"""What a person is told about a day that is not simply loaded."""

from datetime import date

from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.source import DayReason


def describe_day(reason: DayReason, feed: Feed, day: date, calendar_name: str) -> str:
    """One sentence: what was seen, what was expected, what to do next."""
    where = feed.place
    ready_at = feed.ready_on(day).isoformat(timespec="minutes")
    texts = {
        DayReason.ROWS_FOUND: f"{day} has rows to load.",
        DayReason.ROWS_ON_CLOSED_DAY: (
            f"{day} is closed by {calendar_name}, but {where} has rows; they are loaded. "
            "Correct the calendar with calendar_file, or remove the rows."
        ),
        DayReason.NOT_A_SESSION: f"{day} is not a session of {calendar_name}; nothing is expected.",
        DayReason.BEFORE_FIRST_DAY: f"{day} is before first_day of feed {feed.name}.",
        DayReason.BEFORE_CLOSE: (
            f"The session of {day} ends at {feed.closes_on(day).isoformat(timespec='minutes')}; "
            "run the partition again after that."
        ),
        DayReason.BEFORE_READY_TIME: (
            f"{where} should have rows for {day} by {ready_at}; run the partition again after that."
        ),
        DayReason.MISSING_FILE: (
            f"No file for {day} in {where}, expected since {ready_at}, and the day is a session of "
            f"{calendar_name}; put the file there and run the partition again."
        ),
        DayReason.MISSING_ROWS: (
            f"The files of {where} end before {day}, rows were expected since {ready_at}; "
            "update the files and run the partition again."
        ),
        DayReason.NO_ROWS: (
            f"{where} has no row for {day}, and {calendar_name} does not call the day closed; "
            "check the source, or state the day as closed in calendar_file."
        ),
        DayReason.UNKNOWN_SESSION: (
            f"No rows for {day} in {where}, and {calendar_name} does not cover the date; "
            "state the day in calendar_file, or put the file there."
        ),
    }
    return texts[reason]
