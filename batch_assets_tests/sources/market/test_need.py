from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from batch_assets.sources.market.need import (
    DayAsked,
    PlannedDay,
    StoredDay,
    Why,
    evaluate_need,
    repair_ranges,
)

DAY = date(2024, 9, 30)
READ_AT = datetime(2024, 9, 30, 9, tzinfo=UTC)
LATER = READ_AT + timedelta(hours=1)
GOOD = StoredDay("success", "", READ_AT, rows=100)
OWING = replace(GOOD, state="partial", reason="failed_symbols", owed_symbols=("600000.SH",))

TABLE = [
    (DayAsked(DAY), Why.MISSING),
    (DayAsked(DAY, is_session=None), Why.MISSING),
    (DayAsked(DAY, is_session=False), Why.NOT_A_SESSION),
    (DayAsked(DAY, is_session=False, is_before_first_day=True), Why.BEFORE_FIRST_DAY),
    (DayAsked(DAY, is_due=False), Why.NOT_DUE),
    (DayAsked(DAY, stored=GOOD), Why.ALREADY_PRESENT),
    (DayAsked(DAY, stored=GOOD, corrected_since=LATER), Why.CORRECTION_WINDOW),
    # Read after the newest session was due: a relaunch costs no call.
    (DayAsked(DAY, stored=GOOD, corrected_since=READ_AT), Why.ALREADY_PRESENT),
    (DayAsked(DAY, stored=replace(GOOD, is_same_source=False)), Why.CHANGED_SOURCE),
    (DayAsked(DAY, stored=replace(GOOD, is_same_contract=False)), Why.OLDER_CONTRACT),
    (DayAsked(DAY, stored=replace(GOOD, is_same_table=False)), Why.CHANGED_TABLE),
    (DayAsked(DAY, stored=replace(GOOD, state="failed")), Why.FAILED),
    (DayAsked(DAY, stored=replace(GOOD, state="running")), Why.FAILED),
    (DayAsked(DAY, stored=replace(GOOD, state="not_ready")), Why.NOT_READY),
    (DayAsked(DAY, stored=replace(GOOD, state="unconfirmed_empty")), Why.UNCONFIRMED_EMPTY),
    (DayAsked(DAY, stored=replace(GOOD, state="skipped", reason="not_a_session")), Why.MISSING),
    (DayAsked(DAY, stored=replace(GOOD, state="partial", reason="missing_symbols")), Why.PARTIAL),
    (DayAsked(DAY, stored=OWING), Why.FAILED_SYMBOLS),
    (DayAsked(DAY, stored=replace(OWING, state="failed")), Why.FAILED_SYMBOLS),
    (DayAsked(DAY, stored=replace(OWING, state="failed", reason="SourceRefused")), Why.FAILED),
    (DayAsked(DAY, stored=replace(OWING, owed_symbols=())), Why.PARTIAL),
    # The list of symbols has changed: what is owed by the old one is not all that is missing.
    (DayAsked(DAY, stored=replace(OWING, is_same_source=False)), Why.CHANGED_SOURCE),
]


@pytest.mark.parametrize(("asked", "why"), TABLE)
def test_the_decision_table_holds(asked: DayAsked, why: Why) -> None:
    assert evaluate_need(asked) is why


@pytest.mark.parametrize("asked", [asked for asked, _ in TABLE])
def test_a_closed_day_or_one_not_due_is_never_forced(asked: DayAsked) -> None:
    cannot = {Why.NOT_A_SESSION, Why.BEFORE_FIRST_DAY, Why.NOT_DUE}
    need = evaluate_need(asked)

    assert evaluate_need(asked, is_forced=True) is (need if need in cannot else Why.FORCED)
    assert evaluate_need(asked, is_subset=True) is (need if need in cannot else Why.SUBSET)


def test_a_day_is_needed_unless_there_is_nothing_to_do() -> None:
    idle = {why for why in Why if not PlannedDay(DAY, why).is_needed}

    assert idle == {Why.ALREADY_PRESENT, Why.NOT_A_SESSION, Why.BEFORE_FIRST_DAY, Why.NOT_DUE}


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", []),
        ("ppp", []),
        ("pfp", [(1, 1)]),
        ("ffp", [(0, 1)]),
        # A weekend does not part a range, a good session does.
        ("fccf", [(0, 3)]),
        ("fpf", [(0, 0), (2, 2)]),
        ("cfccpf", [(1, 1), (5, 5)]),
    ],
)
def test_days_to_repair_are_ranges(letters: str, expected: list[tuple[int, int]]) -> None:
    meaning = {"p": Why.ALREADY_PRESENT, "f": Why.FAILED, "c": Why.NOT_A_SESSION}
    days = [
        PlannedDay(DAY + timedelta(days=number), meaning[letter])
        for number, letter in enumerate(letters)
    ]

    ranges = repair_ranges(days, frozenset({Why.FAILED}))

    assert [((a - DAY).days, (b - DAY).days) for a, b in ranges] == expected
