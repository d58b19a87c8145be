from datetime import UTC, date, datetime, timedelta

import pytest

from batch_assets.sources.market.need import DayAsked, StoredDay, Why
from batch_assets.sources.market.plan import Plan, PlanHistory, Reach, Route, build_plan

START = date(2024, 1, 1)
READ_AT = datetime(2024, 9, 30, tzinfo=UTC)
BOTH = frozenset({Route.BY_DAY, Route.BY_SYMBOL_RANGE})
BY_DAY = frozenset({Route.BY_DAY})
BY_SYMBOL = frozenset({Route.BY_SYMBOL_RANGE})
NO_HISTORY = PlanHistory()


def missing(count: int) -> list[DayAsked]:
    return [DayAsked(START + timedelta(days=number)) for number in range(count)]


def stored(number: int, state: str = "success", *owed: str) -> DayAsked:
    reason = "failed_symbols" if owed else ""
    day = StoredDay(state, reason, READ_AT, rows=10, owed_symbols=owed)
    return DayAsked(START + timedelta(days=number), stored=day)


def symbols(count: int) -> tuple[str, ...]:
    return tuple(f"{600000 + number}.SH" for number in range(count))


@pytest.mark.parametrize(
    ("routes", "names", "max_days", "route", "calls"),
    [
        # The whole market is never fetched by symbol where a day takes one call.
        (BOTH, None, 30, Route.BY_DAY, 243),
        (BY_DAY, None, 30, Route.BY_DAY, 243),
        # A year of three symbols takes three calls in each of nine runs.
        (BOTH, symbols(3), 30, Route.BY_SYMBOL_RANGE, 27),
        (BOTH, symbols(3), None, Route.BY_SYMBOL_RANGE, 3),
        (BOTH, symbols(5000), None, Route.BY_DAY, 243),
        # Equal: a day holds all of its market, and nothing is kept on disk.
        (BOTH, symbols(243), None, Route.BY_DAY, 243),
        (BY_DAY, symbols(3), None, Route.BY_DAY, 243),
        (BY_SYMBOL, symbols(5000), None, Route.BY_SYMBOL_RANGE, 5000),
    ],
)
def test_the_way_with_the_fewest_calls_is_taken(
    routes: frozenset[Route],
    names: tuple[str, ...] | None,
    max_days: int | None,
    route: Route,
    calls: int,
) -> None:
    plan = build_plan("f", missing(243), Reach(routes, names, max_days), NO_HISTORY)

    assert (plan.route, plan.calls) == (route, calls)


def test_days_that_are_there_are_handed_to_no_source() -> None:
    days = [stored(0), *missing(3)[1:], stored(3)]

    plan = build_plan("f", days, Reach(BY_DAY), NO_HISTORY)

    [group] = plan.groups
    assert (group.days, plan.calls, plan.needed_days) == ((days[1].day, days[2].day), 2, 2)
    assert [day.day for day in plan.present_days] == [days[0].day, days[3].day]
    assert plan.reasons == {"already_present": 2, "missing": 2}


def test_a_range_that_is_there_takes_no_call() -> None:
    plan = build_plan("f", [stored(n) for n in range(5)], Reach(BY_DAY), NO_HISTORY)

    assert (plan.groups, plan.calls, plan.rows, plan.seconds) == ((), 0, 0, 0.0)


def test_closed_days_cost_no_call_and_are_still_judged_by_the_source() -> None:
    closed = DayAsked(START, is_session=False)

    plan = build_plan("f", [closed, *missing(2)[1:]], Reach(BY_DAY), NO_HISTORY)

    assert plan.calls == 1
    assert len(plan.groups[0].days) == 2


def test_only_owed_symbols_are_fetched_again() -> None:
    days = [
        stored(0, "partial", "600001.SH"),
        stored(1, "partial", "600001.SH", "600002.SH"),
        stored(2),
    ]

    plan = build_plan("f", days, Reach(BY_SYMBOL, symbols(5000)), NO_HISTORY)

    [group] = plan.groups
    assert group.symbols == ("600001.SH", "600002.SH")
    assert (group.is_part, group.calls) == (True, 2)
    assert group.days == (days[0].day, days[1].day)


def test_missing_days_and_owed_symbols_are_fetched_apart() -> None:
    days = [stored(0, "partial", "600001.SH"), *missing(2)[1:]]

    plan = build_plan("f", days, Reach(BY_SYMBOL, symbols(50)), NO_HISTORY)

    assert [(group.is_part, group.calls) for group in plan.groups] == [(False, 50), (True, 1)]


def test_chosen_symbols_are_fetched_for_days_that_are_there_too() -> None:
    reach = Reach(BOTH, symbols(2))

    plan = build_plan("f", [stored(n) for n in range(5)], reach, NO_HISTORY, is_subset=True)

    [group] = plan.groups
    assert {day.why for day in plan.days} == {Why.SUBSET}
    assert (group.is_part, group.route, group.calls) == (True, Route.BY_SYMBOL_RANGE, 2)
    assert plan.symbols == symbols(2)


def test_files_are_looked_at_for_every_day() -> None:
    days = [stored(0), *missing(2)[1:]]

    plan = build_plan("f", days, Reach(frozenset({Route.FILES})), NO_HISTORY)

    [group] = plan.groups
    assert (len(group.days), group.needed_days, plan.calls) == (2, 1, 0)


def of_ten_days(history: PlanHistory) -> Plan:
    return build_plan("f", missing(10), Reach(BY_DAY), history)


def test_rows_and_seconds_come_from_history() -> None:
    plan = of_ten_days(PlanHistory(rows_a_day=5063, unit_seconds=0.5, unit_seconds_p90=2.0))

    assert (plan.rows, plan.seconds, plan.seconds_p90) == (50_630, 5.0, 20.0)


def test_without_history_nothing_is_guessed() -> None:
    plan = of_ten_days(NO_HISTORY)

    assert (plan.rows, plan.seconds, plan.seconds_p90) == (None, None, None)


def test_no_plan_is_faster_than_the_vendors_limit() -> None:
    limited = PlanHistory(
        unit_seconds=0.1, unit_seconds_p90=0.2, tokens_left=4, refill_per_second=0.1
    )

    plan = of_ten_days(limited)

    # Four calls at once, then one each ten seconds.
    assert plan.seconds == plan.seconds_p90 == pytest.approx(60)
    assert plan.tokens_left == 4


def test_an_unused_limit_is_all_that_is_known_at_first() -> None:
    plan = of_ten_days(PlanHistory(tokens_left=10, refill_per_second=1))

    assert plan.seconds == 0


def test_owed_symbols_are_few_rows_whatever_a_day_has() -> None:
    days = [stored(0, "partial", "600001.SH")]

    plan = build_plan("f", days, Reach(BY_SYMBOL, symbols(9)), PlanHistory(rows_a_day=5000))

    assert plan.rows == 1
