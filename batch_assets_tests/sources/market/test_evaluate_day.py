import itertools

import pytest

from batch_assets.sources.market.source import DayFacts, DayReason, DayState, evaluate_day

TABLE = [
    # what is known                                               state                reason
    (DayFacts(False), "skipped", "not_a_session"),
    (DayFacts(False, is_closed=False, is_due=False), "skipped", "not_a_session"),
    (DayFacts(False, has_input=True, is_empty=True), "skipped", "not_a_session"),
    (DayFacts(False, has_input=True), "ready", "rows_on_a_closed_day"),
    (DayFacts(True, is_before_first_day=True), "skipped", "before_first_day"),
    (DayFacts(True, is_before_first_day=True, has_input=True), "ready", "rows_found"),
    (DayFacts(True, has_input=True), "ready", "rows_found"),
    (DayFacts(True, has_input=True, is_due=False), "ready", "rows_found"),
    (DayFacts(True, has_input=True, is_closed=False, is_due=False), "not_ready", "before_close"),
    (DayFacts(True, is_closed=False, is_due=False), "not_ready", "before_close"),
    (DayFacts(True, is_due=False), "not_ready", "before_ready_time"),
    (DayFacts(True, has_input=True, is_empty=True, is_due=False), "not_ready", "before_ready_time"),
    (DayFacts(True), "failed", "missing_file"),
    (DayFacts(True, has_input=True, is_empty=True), "unconfirmed_empty", "no_rows"),
    (DayFacts(True, holds_many_days=True, ends_before=True), "failed", "missing_rows"),
    (DayFacts(True, holds_many_days=True), "unconfirmed_empty", "no_rows"),
    (DayFacts(None, has_input=True), "ready", "rows_found"),
    (DayFacts(None, is_due=False), "not_ready", "before_ready_time"),
    (DayFacts(None), "unconfirmed_empty", "calendar_does_not_cover_the_date"),
    (DayFacts(None, has_input=True, is_empty=True), "unconfirmed_empty", "no_rows"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "state", "reason"), TABLE)
def test_the_decision_table_holds(facts: DayFacts, state: str, reason: str) -> None:
    verdict = evaluate_day(facts)

    assert (verdict.state, verdict.reason) == (DayState(state), DayReason(reason))


def all_facts() -> list[DayFacts]:
    flags = [(False, True)] * 7
    return [
        DayFacts(is_session, *values)
        for is_session in (True, False, None)
        for values in itertools.product(*flags)
    ]


def test_a_day_the_calendar_does_not_know_is_never_skipped_as_closed() -> None:
    for facts in all_facts():
        if facts.is_session is None:
            assert evaluate_day(facts).reason is not DayReason.NOT_A_SESSION


def test_a_session_without_rows_is_never_ready() -> None:
    for facts in all_facts():
        if not facts.has_input or facts.is_empty:
            assert evaluate_day(facts).state is not DayState.READY


def test_whatever_can_still_come_is_retryable() -> None:
    for facts in all_facts():
        verdict = evaluate_day(facts)
        later = (DayState.NOT_READY, DayState.FAILED, DayState.UNCONFIRMED_EMPTY)
        assert verdict.is_retryable == (verdict.state in later)
