"""The plan of a run: how its days are fetched, and what that will take. Pure decisions.

Why a day is fetched at all is decided in need.py; facts come from ingest/market/plan.py.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from batch_assets.sources.market.need import DayAsked, PlannedDay, Why, evaluate_need


class Route(StrEnum):
    """How days are fetched."""

    BY_DAY = "by_day"
    BY_SYMBOL_RANGE = "by_symbol_range"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a feed can be asked, as far as the number of calls depends on it.

    Attributes:
        routes: Ways the source can be fetched; files have one.
        symbols: The symbols to fetch where somebody named them; None is the whole market. The
            whole market is never fetched by symbol, because a list of it may lack one.
        max_days_per_run: Days of a range that one run fetches; None for all of them.
    """

    routes: frozenset[Route]
    symbols: tuple[str, ...] | None = None
    max_days_per_run: int | None = None


@dataclass(frozen=True, slots=True)
class PlanGroup:
    """Days fetched together, in the same way.

    Attributes:
        route: How.
        days: Days handed to the source, oldest first: those that need it, and those it can answer
            for without being asked.
        needed_days: How many of them need it.
        symbols: Symbols fetched; None for all.
        is_part: The days get a part of their rows: others are there, or are not wanted.
        calls: Calls of the vendor.
    """

    route: Route
    days: tuple[date, ...]
    needed_days: int
    symbols: tuple[str, ...] | None = None
    is_part: bool = False
    calls: int = 0


def group_days(days: Sequence[PlannedDay], reach: Reach, *, is_subset: bool) -> list[PlanGroup]:
    """Days by the way that takes the fewest calls.

    Days of which only some symbols are owed are asked for these alone. Files are looked at for
    every day, because that costs no call; a vendor is not asked for days that are present.
    """
    if Route.FILES in reach.routes:
        needed = sum(day.is_needed for day in days)
        every = tuple(day.day for day in days)
        group = PlanGroup(Route.FILES, every, needed, reach.symbols, is_part=is_subset)
        return [group] if every else []
    owing = [day for day in days if day.why is Why.FAILED_SYMBOLS and day.stored]
    others = [day for day in days if day.why not in (Why.FAILED_SYMBOLS, Why.ALREADY_PRESENT)]
    groups = [_whole_days(others, reach, is_part=is_subset)] if others else []
    if owing:
        owed = {symbol for day in owing if day.stored for symbol in day.stored.owed_symbols}
        every = tuple(day.day for day in owing)
        symbols = tuple(sorted(owed))
        groups.append(
            PlanGroup(
                Route.BY_SYMBOL_RANGE, every, len(every), symbols, is_part=True, calls=len(symbols)
            )
        )
    return groups


def _whole_days(days: Sequence[PlannedDay], reach: Reach, *, is_part: bool) -> PlanGroup:
    every = tuple(day.day for day in days)
    needed = sum(day.is_needed for day in days)
    route, calls = _cheapest(needed, reach)
    return PlanGroup(route, every, needed, reach.symbols, is_part=is_part, calls=calls)


def _cheapest(needed_days: int, reach: Reach) -> tuple[Route, int]:
    by_symbol = 0
    if reach.symbols is not None and needed_days:
        runs = math.ceil(needed_days / (reach.max_days_per_run or needed_days))
        by_symbol = len(reach.symbols) * runs
    if Route.BY_DAY not in reach.routes:
        return Route.BY_SYMBOL_RANGE, by_symbol
    has_choice = Route.BY_SYMBOL_RANGE in reach.routes and reach.symbols is not None
    if has_choice and by_symbol < needed_days:
        return Route.BY_SYMBOL_RANGE, by_symbol
    return Route.BY_DAY, needed_days


@dataclass(frozen=True, slots=True)
class PlanHistory:
    """What the feed's days and calls took before; None where there is no history.

    Attributes:
        rows_a_day: Median rows of its last sessions.
        unit_seconds: Median seconds of a call, or of a day of files.
        unit_seconds_p90: The same, exceeded by one run in ten.
        tokens_left: Calls the vendor's limit allows at once; None without a limit.
        refill_per_second: Calls it allows per second after that.
    """

    rows_a_day: float | None = None
    unit_seconds: float | None = None
    unit_seconds_p90: float | None = None
    tokens_left: float | None = None
    refill_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    Attributes:
        feed: Name of the feed.
        days: Every day asked for, oldest first, each with its reason.
        groups: How the days are fetched; days that are present are in none.
        rows: Rows expected; None where the feed has no history.
        seconds: Half of the runs take less; None where nothing is known.
        seconds_p90: Nine of ten runs take less.
        tokens_left: Calls the vendor's limit allows at once; None without a limit.
    """

    feed: str
    days: tuple[PlannedDay, ...]
    groups: tuple[PlanGroup, ...]
    rows: int | None = None
    seconds: float | None = None
    seconds_p90: float | None = None
    tokens_left: float | None = None
    symbols: tuple[str, ...] | None = None
    is_forced: bool = False

    @property
    def calls(self) -> int:
        """Calls of the vendor, if each is answered at once."""
        return sum(group.calls for group in self.groups)

    @property
    def needed_days(self) -> int:
        """Days the source is asked for."""
        return sum(day.is_needed for day in self.days)

    @property
    def present_days(self) -> tuple[PlannedDay, ...]:
        """Days that are passed over because they are there."""
        handed = {day for group in self.groups for day in group.days}
        return tuple(day for day in self.days if day.day not in handed)

    @property
    def route(self) -> Route | None:
        """How most days are fetched; None where nothing is."""
        largest = max(self.groups, key=lambda group: len(group.days), default=None)
        return None if largest is None else largest.route

    @property
    def reasons(self) -> dict[str, int]:
        """Days by reason, most frequent first."""
        return {str(why): count for why, count in Counter(d.why for d in self.days).most_common()}


def build_plan(
    feed: str,
    days: Sequence[DayAsked],
    reach: Reach,
    history: PlanHistory,
    *,
    is_forced: bool = False,
    is_subset: bool = False,
) -> Plan:
    """Decide about every day, and add up what it will take.

    Args:
        feed: Name of the feed.
        days: What was asked for.
        reach: What the feed can be asked.
        history: What it took before, for the way `reach` would choose.
        is_forced: Fetch whatever is stored.
        is_subset: `reach.symbols` were named for this run alone.
    """
    planned = tuple(
        PlannedDay(
            asked.day,
            evaluate_need(asked, is_forced=is_forced, is_subset=is_subset),
            asked.stored,
        )
        for asked in sorted(days, key=lambda asked: asked.day)
    )
    groups = tuple(group_days(planned, reach, is_subset=is_subset))
    return Plan(
        feed=feed,
        days=planned,
        groups=groups,
        rows=_expected_rows(groups, history.rows_a_day),
        seconds=_expected_seconds(groups, history, history.unit_seconds),
        seconds_p90=_expected_seconds(groups, history, history.unit_seconds_p90),
        tokens_left=history.tokens_left,
        symbols=reach.symbols if is_subset else None,
        is_forced=is_forced,
    )


def _expected_rows(groups: Sequence[PlanGroup], rows_a_day: float | None) -> int | None:
    known = [_rows_of(group, rows_a_day) for group in groups if group.needed_days]
    return None if None in known else sum(rows for rows in known if rows is not None)


def _rows_of(group: PlanGroup, rows_a_day: float | None) -> int | None:
    if group.symbols is not None:
        most = len(group.symbols) * group.needed_days
        return most if rows_a_day is None else min(most, round(rows_a_day * group.needed_days))
    return None if rows_a_day is None else round(rows_a_day * group.needed_days)


def _expected_seconds(
    groups: Sequence[PlanGroup], history: PlanHistory, unit_seconds: float | None
) -> float | None:
    """Seconds by the calls of earlier runs, and never less than the vendor's limit takes."""
    calls = sum(group.calls for group in groups)
    units = calls + sum(g.needed_days for g in groups if g.route is Route.FILES)
    if not units:
        return 0.0
    limit_seconds = _limit_seconds(calls, history)
    if unit_seconds is None:
        return limit_seconds
    return max(units * unit_seconds, limit_seconds or 0.0)


def _limit_seconds(calls: int, history: PlanHistory) -> float | None:
    if history.tokens_left is None or history.refill_per_second is None:
        return None
    return max(0.0, calls - history.tokens_left) / history.refill_per_second
