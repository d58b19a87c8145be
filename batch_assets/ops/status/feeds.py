"""How fresh each market feed is: the newest stored day against the newest that is due."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import psycopg

from batch_assets.ingest.market.daily_bars import UNDATED, contract_of, scope_of
from batch_assets.postgres.sql_files import read_query
from batch_assets.settings import Settings
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.due import newest_due_session
from batch_assets.sources.market.feed import Feed, build_feeds

# A quarter of sessions behind is as late as a person needs to know.
COUNTED_SESSIONS = 60


class Freshness(StrEnum):
    """What a person is to think of a feed."""

    FRESH = "fresh"
    BEHIND = "behind"
    EMPTY = "empty"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed.

    Attributes:
        stored: Newest trade date with rows; None where there is none.
        due: Newest session whose rows are due; None where no calendar says.
        due_since: Since when the rows of `due` are expected.
        behind: Sessions missing between the two, counted to COUNTED_SESSIONS.
        row_count: Rows of the newest stored day.
        published_at: When that day was written last.
        zone_name: Time zone of its exchange.
    """

    name: str
    calendar: str
    zone_name: str
    freshness: Freshness
    stored: date | None
    due: date | None
    due_since: datetime | None
    behind: int
    row_count: int
    published_at: datetime | None
    paused_by: str | None


def read_feeds(
    conn: psycopg.Connection, settings: Settings, now: datetime, paused: dict[str, str]
) -> list[FeedStatus]:
    """All configured market feeds, in the order of the configuration.

    Args:
        conn: Its transaction is left open.
        settings: Whose feeds.
        now: The present, aware.
        paused: Who paused a feed, by its name.
    """
    feeds = build_feeds(settings.section("market"), settings.config_dir)
    if not feeds:
        return []
    scopes = {name: scope_of(feed).name for name, feed in feeds.items()}
    rows = conn.execute(
        read_query("read_feed_windows"),
        {
            "target": contract_of(next(iter(feeds.values()))).target,
            "scopes": list(dict.fromkeys(scopes.values())),
            "undated": UNDATED.key,
        },
    ).fetchall()
    newest = {row[0]: row[1:] for row in rows}
    return [
        _status(feed, settings, now, newest[scopes[name]], paused.get(name))
        for name, feed in feeds.items()
    ]


def _status(
    feed: Feed,
    settings: Settings,
    now: datetime,
    window: tuple[str | None, int | None, datetime | None],
    paused_by: str | None,
) -> FeedStatus:
    key, row_count, published_at = window
    stored = None if key is None else date.fromisoformat(key)
    due = newest_due_session(feed, now, settings.state_dir / "cache")
    behind = _count_behind(feed, settings, now, stored, due)
    return FeedStatus(
        name=feed.name,
        calendar=feed.calendar_name,
        zone_name=feed.zone_name,
        freshness=_freshness(stored, due, behind),
        stored=stored,
        due=due,
        due_since=None if due is None else feed.ready_on(due),
        behind=behind,
        row_count=row_count or 0,
        published_at=published_at,
        paused_by=paused_by,
    )


def _freshness(stored: date | None, due: date | None, behind: int) -> Freshness:
    if stored is None:
        return Freshness.EMPTY
    if due is None:
        return Freshness.UNKNOWN
    return Freshness.BEHIND if behind else Freshness.FRESH


def _count_behind(
    feed: Feed, settings: Settings, now: datetime, stored: date | None, due: date | None
) -> int:
    if stored is None:
        return 0
    calendar = open_calendar(
        feed.calendar_name,
        settings.state_dir / "cache",
        today=now.date(),
        user_file=feed.calendar_file,
    )
    behind = 0
    while due is not None and due > stored and behind < COUNTED_SESSIONS:
        behind += 1
        due = calendar.previous_session(due)
    return behind
