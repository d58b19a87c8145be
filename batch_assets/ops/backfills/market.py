"""Requests for market feeds: a range of trade dates, or exactly what a plan says."""

from datetime import UTC, date, datetime, timedelta

from batch_assets.errors import RequestRefused
from batch_assets.ingest.market.daily_bars import contract_of, scope_of
from batch_assets.ops.backfills.values import BackfillRequest
from batch_assets.ops.market import choose_feed
from batch_assets.runs.backfill_states import BACKFILL_PRIORITY
from batch_assets.settings import Settings
from batch_assets.sources.market.due import newest_due_day
from batch_assets.sources.market.feed import Feed, build_feeds


def request_range(
    settings: Settings,
    feed_name: str | None,
    first: date,
    last: date | None = None,
    *,
    symbols: tuple[str, ...] = (),
    is_forced: bool = False,
    priority: int = BACKFILL_PRIORITY,
    now: datetime | None = None,
) -> BackfillRequest:
    """A request for every day of a range, days without a session included.

    Args:
        settings: Of this process.
        feed_name: None for the default feed.
        first: First trade date.
        last: Last trade date; None for the newest that is due.
        symbols: Fetch these alone; empty for all.
        is_forced: Fetch days that are there, too.
        priority: `dagster/priority` of its runs.
        now: The present; the clock's where absent.

    Raises:
        ConfigurationError: There is no such feed.
        RequestRefused: The range is empty, begins before the first partition or ends after today.
    """
    feed = choose_feed(build_feeds(settings.section("market"), settings.config_dir), feed_name)
    now = now or datetime.now(UTC)
    last = newest_due_day(feed, now) if last is None else last
    _check_range(settings, first, last, now)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return request_days(feed, days, symbols=symbols, is_forced=is_forced, priority=priority)


def request_days(
    feed: Feed,
    days: list[date],
    *,
    whys: dict[str, str] | None = None,
    symbols: tuple[str, ...] = (),
    is_forced: bool = False,
    priority: int = BACKFILL_PRIORITY,
) -> BackfillRequest:
    """A request for these days of a feed, oldest first."""
    return BackfillRequest(
        asset_key=f"market/{feed.name}/daily_bars",
        feed=feed.name,
        target=contract_of(feed).target,
        scope=scope_of(feed).name,
        keys=tuple(day.isoformat() for day in days),
        whys=whys or {},
        is_forced=is_forced,
        symbols=symbols,
        priority=priority,
    )


def find_feed_name(settings: Settings, name: str | None = None) -> str:
    """The name of a configured feed; of the default one if none is named.

    Raises:
        ConfigurationError: There is none of that name.
    """
    return choose_feed(build_feeds(settings.section("market"), settings.config_dir), name).name


def _check_range(settings: Settings, first: date, last: date, now: datetime) -> None:
    if last < first:
        raise RequestRefused(
            f"the range {first} to {last} has no day, expected its first day before its last; "
            "correct it"
        )
    if first < settings.dagster.first_day:
        raise RequestRefused(
            f"{first} is before the first partition, expected {settings.dagster.first_day} or "
            "later; begin later, or set first_day under [dagster] in batch_assets.toml"
        )
    # As the partitions: calendar days up to today, by UTC.
    if last > now.astimezone(UTC).date():
        raise RequestRefused(
            f"{last} is in the future, expected {now.astimezone(UTC).date()} or earlier; end the "
            "range earlier"
        )
