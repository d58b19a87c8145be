"""From what a folder has for a day to a verdict with a message, for every kind of file source."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from batch_assets.contracts.batch import SourceBatch
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.day_text import describe_day
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.source import DayFacts, DayInput, DayState, evaluate_day


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder has for one day.

    Attributes:
        source_hash: Identity of the rows; None where there is nothing to read.
        source_file: Files concerned, for people.
        is_empty: There is input, and it surely has no row.
        holds_many_days: The folder's files hold many days each.
        ends_before: They all end before the day.
        warning: Something a person should look at, although the day can be loaded.
    """

    source_hash: str | None = None
    source_file: str = ""
    is_empty: bool = False
    holds_many_days: bool = False
    ends_before: bool = False
    warning: str = ""


def build_day_input(
    feed: Feed,
    day: date,
    found: Found,
    *,
    now: datetime,
    cache_dir: Path,
    read: Callable[[], Iterator[SourceBatch]],
    notes: Counter[str],
    source_days: Mapping[date, bool] | None = None,
) -> DayInput:
    """Judge a day and put the answer together.

    Args:
        feed: Whose day it is.
        day: The exchange's trade date.
        found: What the source has.
        now: The present, aware.
        cache_dir: Folder of computed calendars.
        read: Gives the rows.
        notes: Filled by `read`.
        source_days: What the source itself says about its sessions, where it was asked.
    """
    calendar = open_calendar(
        feed.calendar_name, cache_dir, today=now.date(), user_file=feed.calendar_file
    )
    if source_days:
        calendar = calendar.with_days_of(feed.place, source_days)
    verdict = evaluate_day(
        DayFacts(
            is_session=calendar.is_session(day),
            is_before_first_day=feed.first_day is not None and day < feed.first_day,
            is_closed=now >= feed.closes_on(day),
            is_due=now >= feed.ready_on(day),
            has_input=found.source_hash is not None,
            is_empty=found.is_empty,
            holds_many_days=found.holds_many_days,
            ends_before=found.ends_before,
        )
    )
    message = describe_day(verdict.reason, feed, day, calendar.name)
    return DayInput(
        trade_date=day,
        state=verdict.state,
        reason=verdict.reason,
        message=f"{message} {found.warning}".strip(),
        source_hash=found.source_hash,
        source_file=found.source_file,
        is_retryable=verdict.is_retryable,
        is_warning=verdict.is_warning or bool(found.warning),
        read=read if verdict.state is DayState.READY else _nothing,
        notes=notes,
    )


def _nothing() -> Iterator[SourceBatch]:
    return iter(())
