"""Plans of market runs: what the database and the calendar know, and the record of each plan.

The decisions are pure, in sources/market/plan.py.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg

from batch_assets.contracts.table import TableContract, Window, resource_of
from batch_assets.errors import BatchAssetsError
from batch_assets.ingest.market.aliases import AliasedSource
from batch_assets.ingest.market.daily_bars import scope_of
from batch_assets.ingest.market.vendor_limits import limit_of
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import read_target
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.windows import count_windows, read_windows
from batch_assets.postgres.rate_limits import read_limits
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.contract import daily_bars_contract
from batch_assets.sources.market.due import CorrectionWindow, correction_window
from batch_assets.sources.market.feed import Feed, VendorFeed
from batch_assets.sources.market.need import DayAsked, StoredDay, Why, repair_ranges
from batch_assets.sources.market.plan import Plan, PlanHistory, Reach, Route, build_plan
from batch_assets.sources.market.source import MarketSource
from batch_assets.sources.market.vendors.feed_symbols import (
    check_symbols,
    has_symbols,
    is_asked_by_symbol,
    is_identity_of,
    read_symbols,
    source_identity,
)
from batch_assets.sources.market.vendors.registry import kind_of

REPAIRED = frozenset(
    {Why.PARTIAL, Why.FAILED_SYMBOLS, Why.NOT_READY, Why.FAILED, Why.UNCONFIRMED_EMPTY}
)
"""Reasons for which the later schedule of a feed fetches a day again."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What somebody wants of a feed.

    Attributes:
        days: Trade dates.
        symbols: Only these; none named means all.
        is_forced: Fetch days that are present too.
    """

    days: Sequence[date]
    symbols: tuple[str, ...] = ()
    is_forced: bool = False


def plan_sync(
    connect: Connector,
    feed: Feed,
    request: PlanRequest,
    *,
    now: datetime,
    cache_dir: Path,
    looked_at: MarketSource | None = None,
) -> Plan:
    """Plan a run; asks the database and no vendor.

    Args:
        connect: Opens a connection.
        feed: What is fetched from.
        request: What is wanted.
        now: The present, aware.
        cache_dir: Folder of computed calendars.
        looked_at: Files to compare with what was loaded, and to close; a run does that later, for
            it reads them anyway.

    Raises:
        ConfigurationError: A symbol is not canonical.
    """
    reach = _reach_of(feed, request)
    with closing(connect()) as conn:
        stored = read_stored_days(conn, feed, request.days, is_counted=_is_counted(feed, looked_at))
        if looked_at is not None:
            with closing(AliasedSource(looked_at, connect, feed.source_name)) as named:
                stored = _compare(named, stored, now)
        asked = _judge_days(feed, request.days, stored, now=now, cache_dir=cache_dir)
        history = _read_history(conn, feed, _likely_route(asked, reach))
    return build_plan(
        feed.name,
        asked,
        reach,
        history,
        is_forced=request.is_forced,
        is_subset=bool(request.symbols),
    )


def _is_counted(feed: Feed, looked_at: MarketSource | None) -> bool:
    """Whether the table's rows are counted: a run of files counts them when it loads."""
    return isinstance(feed, VendorFeed) or looked_at is not None


def _compare(
    source: MarketSource, stored: Mapping[date, StoredDay], now: datetime
) -> dict[date, StoredDay]:
    """Days with the news whether their files are still those that were loaded."""
    return {
        day: replace(known, is_same_source=_source_hash(source, day, now) == known.source_hash)
        if known.state == "success"
        else known
        for day, known in stored.items()
    }


def _source_hash(source: MarketSource, day: date, now: datetime) -> str | None:
    try:
        return source.open_day(day, now=now).source_hash
    except BatchAssetsError:
        # Not what was loaded, in any case; the run that comes to the day says what is wrong.
        return None


def _likely_route(asked: Sequence[DayAsked], reach: Reach) -> Route:
    """The way whose durations are asked for: by the number of days, whatever is stored of them."""
    draft = build_plan("", asked, reach, PlanHistory(), is_forced=True)
    return draft.route or next(iter(reach.routes))


def _reach_of(feed: Feed, request: PlanRequest) -> Reach:
    symbols = None
    if request.symbols:
        hint = "correct `symbols` in the run's configuration, or --symbol"
        symbols = tuple(check_symbols(list(request.symbols), feed.name, hint))
    if not isinstance(feed, VendorFeed):
        return Reach(frozenset({Route.FILES}), symbols)
    if symbols is None and has_symbols(feed):
        symbols = tuple(read_symbols(feed))
    can = kind_of(feed.vendor).capabilities & {Route.BY_DAY, Route.BY_SYMBOL_RANGE}
    return Reach(frozenset(Route(name) for name in can), symbols, feed.max_days_per_run)


def _judge_days(
    feed: Feed,
    days: Sequence[date],
    stored: Mapping[date, StoredDay],
    *,
    now: datetime,
    cache_dir: Path,
) -> list[DayAsked]:
    calendar = open_calendar(
        feed.calendar_name, cache_dir, today=now.date(), user_file=feed.calendar_file
    )
    window = correction_window(feed, calendar, now)
    return [
        DayAsked(
            day=day,
            is_session=calendar.is_session(day),
            is_before_first_day=feed.first_day is not None and day < feed.first_day,
            is_due=now >= feed.ready_on(day),
            corrected_since=_due_again_at(window, day),
            stored=stored.get(day),
        )
        for day in sorted(set(days))
    ]


def _due_again_at(window: CorrectionWindow | None, day: date) -> datetime | None:
    is_inside = window is not None and window.first <= day <= window.last
    return window.due_at if window is not None and is_inside else None


def read_stored_days(
    conn: psycopg.Connection, feed: Feed, days: Sequence[date], *, is_counted: bool = True
) -> dict[date, StoredDay]:
    """What is known of days that were looked at before.

    Args:
        conn: Its transaction is rolled back.
        feed: Whose days.
        days: Trade dates.
        is_counted: Count the rows that are in the table; else believe the last load.
    """
    contract, scope = daily_bars_contract(feed), scope_of(feed)
    context = LoadContext(contract, scope)
    windows = [Window.of_day(day) for day in sorted(set(days))]
    rows = conn.execute(
        read_query("read_planned_days"),
        {
            "window_keys": [window.key for window in windows],
            "resources": [resource_of(contract, scope, window) for window in windows],
        },
    ).fetchall()
    loaded = [Window.of_day(date.fromisoformat(row[0])) for row in rows]
    known = read_windows(conn, context, loaded)
    counts = {key: window.row_count for key, window in known.items()}
    if is_counted and loaded:
        counts = count_windows(conn, read_target(conn, context).parts, loaded)
    owed = _read_owed(conn, feed, loaded)
    identity = source_identity(feed) if isinstance(feed, VendorFeed) else ""
    conn.rollback()
    found: dict[date, StoredDay] = {}
    for key, state, reason, source_hash, contract_version, started_at, _ in rows:
        window = known.get(key)
        day = date.fromisoformat(key)
        found[day] = StoredDay(
            state=state,
            reason=reason,
            read_at=started_at,
            rows=counts.get(key, 0),
            source_hash=source_hash or None,
            is_same_source=not identity or not source_hash or is_identity_of(identity, source_hash),
            is_same_contract=not contract_version or contract_version == contract.fingerprint,
            is_same_table=window is not None
            and window.is_current
            and window.row_count == counts.get(key, 0),
            owed_symbols=owed.get(day, ()),
        )
    return found


def _read_owed(
    conn: psycopg.Connection, feed: Feed, windows: Sequence[Window]
) -> dict[date, tuple[str, ...]]:
    if not windows or not is_asked_by_symbol(feed):
        return {}
    parameters = {"source": feed.source_name, "days": [window.start for window in windows]}
    rows = conn.execute(read_query("read_owed_symbols"), parameters).fetchall()
    return {day: tuple(symbols) for day, symbols in rows}


def _read_history(conn: psycopg.Connection, feed: Feed, route: Route) -> PlanHistory:
    contract = daily_bars_contract(feed)
    row = conn.execute(
        read_query("read_plan_history"),
        {"target": contract.target, "scope": scope_of(feed).name, "route": route},
    ).fetchone()
    rows_a_day, unit_seconds, unit_seconds_p90 = row or (None, None, None)
    tokens_left, refill_per_second = _read_limit(conn, feed)
    conn.rollback()
    return PlanHistory(
        rows_a_day=rows_a_day,
        unit_seconds=unit_seconds,
        unit_seconds_p90=unit_seconds_p90,
        tokens_left=tokens_left,
        refill_per_second=refill_per_second,
    )


def _read_limit(conn: psycopg.Connection, feed: Feed) -> tuple[float | None, float | None]:
    limit = limit_of(feed) if isinstance(feed, VendorFeed) else None
    if limit is None:
        return None, None
    # A bucket that nobody has used yet is full.
    left = next((s.tokens for s in read_limits(conn) if s.name == limit.name), limit.capacity)
    return left, limit.refill_per_second


def plan_repairs(
    connect: Connector, feed: Feed, *, now: datetime, cache_dir: Path
) -> list[tuple[date, date]]:
    """Ranges of days that the feed's later schedule fetches again; none where all is well.

    Args:
        connect: Opens a connection.
        feed: Says how far to look back.
        now: The present, aware.
        cache_dir: Folder of computed calendars.
    """
    today = now.astimezone(ZoneInfo(feed.zone_name)).date()
    days = [today - timedelta(days=back) for back in range(feed.repair_days, -1, -1)]
    if not feed.repair_days:
        return []
    plan = plan_sync(connect, feed, PlanRequest(days), now=now, cache_dir=cache_dir)
    return repair_ranges(plan.days, REPAIRED)


def begin_plan(connect: Connector, feed: Feed, plan: Plan, run_id: str | None) -> int | None:
    """Record a plan before the first call; None for a plan without a day.

    Returns:
        plan_id of ops.plans.
    """
    if not plan.days:
        return None
    contract = daily_bars_contract(feed)
    with closing(connect()) as conn:
        conn.autocommit = True
        row = conn.execute(
            read_query("begin_plan"),
            {
                **_common(contract, feed, plan),
                "run_id": run_id,
                "window_keys": [day.day.isoformat() for day in plan.days],
                "whys": [day.why for day in plan.days],
                "needed": [day.is_needed for day in plan.days],
            },
        ).fetchone()
    return None if row is None else int(row[0])


def _common(contract: TableContract, feed: Feed, plan: Plan) -> dict[str, object]:
    return {
        "target": contract.target,
        "scope": scope_of(feed).name,
        "feed": feed.name,
        "first_key": plan.days[0].day.isoformat(),
        "last_key": plan.days[-1].day.isoformat(),
        "route": plan.route or default_route(feed),
        "symbols": None if plan.symbols is None else list(plan.symbols),
        "is_forced": plan.is_forced,
        "windows_asked": len(plan.days),
        "windows_needed": plan.needed_days,
        "planned_calls": plan.calls,
        "planned_rows": plan.rows,
        "planned_seconds": plan.seconds,
        "planned_seconds_p90": plan.seconds_p90,
        "tokens_left": plan.tokens_left,
    }


def default_route(feed: Feed) -> Route:
    """How a feed is fetched where nothing says otherwise."""
    if not isinstance(feed, VendorFeed):
        return Route.FILES
    return Route.BY_DAY if kind_of(feed.vendor).by_day else Route.BY_SYMBOL_RANGE


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What a run did.

    Attributes:
        calls: Questions the vendor was asked, those that failed included.
        rows: Rows read.
        seconds: From the plan to the last commit.
        loads: load_id and state of each window, by key.
    """

    calls: int
    rows: int
    seconds: float
    loads: Mapping[str, tuple[int, str]]


def finish_plan(connect: Connector, plan_id: int | None, outcome: PlanOutcome) -> None:
    """Record what became of a plan; a run that is killed leaves it unfinished."""
    if plan_id is None:
        return
    with closing(connect()) as conn:
        conn.autocommit = True
        conn.execute(
            read_query("finish_plan"),
            {
                "plan_id": plan_id,
                "made_calls": outcome.calls,
                "read_rows": outcome.rows,
                "seconds": outcome.seconds,
                "window_keys": list(outcome.loads),
                "load_ids": [load_id for load_id, _ in outcome.loads.values()],
                "states": [state for _, state in outcome.loads.values()],
            },
        )
