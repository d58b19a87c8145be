"""How far each market feed is behind its exchange."""

from collections.abc import Iterator
from datetime import date, datetime

import psycopg

from batch_assets.monitoring.metrics import Sample
from batch_assets.settings import Settings
from batch_assets.sources.market.calendar import SessionCalendar, open_calendar
from batch_assets.sources.market.due import newest_due_day
from batch_assets.sources.market.feed import Feed, build_feeds

_TARGET = "market.daily_bars"


def read_feed_lags(conn: psycopg.Connection, settings: Settings, now: datetime) -> Iterator[Sample]:
    """Seconds since the oldest session without rows, after the newest with rows, became due.

    0 where none is missing. A feed that was never loaded has none: it is configured, not late.
    """
    rows = conn.execute(
        "SELECT scope, max(window_key) FROM ops.windows WHERE target = %s GROUP BY scope",
        (_TARGET,),
    ).fetchall()
    newest = {str(scope): date.fromisoformat(key) for scope, key in rows}
    for name, feed in build_feeds(settings.section("market"), settings.config_dir).items():
        stored = newest.get(feed.source_name)
        if stored is None:
            continue
        calendar = open_calendar(
            feed.calendar_name,
            settings.state_dir / "cache",
            today=now.date(),
            user_file=feed.calendar_file,
        )
        yield Sample(
            "batch_assets_partition_lag_seconds",
            {"feed": name},
            lag_seconds(feed, calendar, stored, now),
        )


def lag_seconds(feed: Feed, calendar: SessionCalendar, stored: date, now: datetime) -> float:
    """Since when the first session after `stored` has been due; 0 where none is due.

    Args:
        feed: Says when a day's rows are due.
        calendar: Of its exchange.
        stored: The newest day with rows.
        now: The present, aware.
    """
    due: date | None = newest_due_day(feed, now)
    if due is not None and not calendar.is_session(due):
        due = calendar.previous_session(due)
    missing: date | None = None
    while due is not None and due > stored:
        missing = due
        due = calendar.previous_session(due)
    return max(0.0, (now - feed.ready_on(missing)).total_seconds()) if missing else 0.0
