"""Answers about market feeds that operators ask for."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.market.plan import PlanRequest, plan_sync
from batch_assets.ops.service import ready_database_url
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.settings import load_settings
from batch_assets.sources.market.due import newest_due_day
from batch_assets.sources.market.feed import Feed, FileFeed, build_feeds
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.plan import Plan


def plan_market(
    feed_name: str | None,
    first: date,
    last: date | None,
    *,
    symbols: tuple[str, ...] = (),
    is_forced: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """What a run of a feed would do; looks at files and the database, and asks no vendor.

    Args:
        feed_name: None for the default feed.
        first: First trade date.
        last: Last trade date; None for the newest that is due.
        symbols: Only these; none named means all.
        is_forced: Fetch days that are present too.
        now: Gives the present, aware.

    Raises:
        ConfigurationError: There is no such feed, or the range is empty.
    """
    settings = load_settings()
    feeds = build_feeds(settings.section("market"), settings.config_dir)
    feed = choose_feed(feeds, feed_name)
    present = now()
    last = newest_due_day(feed, present) if last is None else last
    if last < first:
        raise ConfigurationError(
            f"the range {first} to {last} has no day, expected --from before --to; correct it"
        )
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    cache_dir = settings.state_dir / "cache"
    open_connection = partial(
        connect,
        ready_database_url(),
        application_name="batch_assets plan",
        options=settings.database,
    )
    with translating_errors():
        return plan_sync(
            open_connection,
            feed,
            PlanRequest(days, symbols, is_forced),
            now=present,
            cache_dir=cache_dir,
            looked_at=open_feed(feed, cache_dir) if isinstance(feed, FileFeed) else None,
        )


def choose_feed(feeds: dict[str, Feed], name: str | None) -> Feed:
    """A configured feed; the default one if none is named.

    Raises:
        ConfigurationError: There is none of that name.
    """
    chosen = next(iter(feeds), None) if name is None else name
    if chosen is None or chosen not in feeds:
        raise ConfigurationError(
            f"there is no feed {chosen!r}, expected one of {', '.join(feeds) or 'no feeds'}; "
            "correct --feed, or add [market.feeds.<name>] to batch_assets.toml"
        )
    return feeds[chosen]
