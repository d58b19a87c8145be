from dataclasses import replace

import psycopg
import pytest

from batch_assets.ops.demo.outcome import (
    DayOutcome,
    Outcome,
    find_surprises,
    newest_load_id,
    read_outcome,
)
from batch_assets.runs.watch import BackfillState

LOADED = DayOutcome("2012-10-22", "success", "", "", 6, (4, 0, 0, 1, 1, 0), 0)
SKIPPED = DayOutcome("2012-10-27", "skipped", "not_a_session", "", 0, (0,) * 6, 0)
FAILED = DayOutcome("2013-01-10", "failed", "UnreadableSource", "cut off", 3, (0,) * 6, 0)
ASKED = ["2012-10-22", "2012-10-27", "2013-01-10"]


def surprises(
    *days: DayOutcome, state: BackfillState = BackfillState.COMPLETED_FAILED, stored: int = 4
) -> list[str]:
    return find_surprises(
        Outcome(days, stored_rows=stored),
        asked=ASKED,
        may_fail={"2013-01-10"},
        backfill_state=state,
    )


def test_planted_outcome_is_no_surprise() -> None:
    assert surprises(LOADED, SKIPPED, FAILED) == []


def test_repaired_broken_day_is_no_surprise() -> None:
    repaired = replace(LOADED, day="2013-01-10")

    assert (
        surprises(LOADED, SKIPPED, repaired, state=BackfillState.COMPLETED_SUCCESS, stored=8) == []
    )


def test_other_failed_day_is_a_surprise() -> None:
    other = replace(FAILED, day="2012-10-27")

    assert surprises(LOADED, other, FAILED) == ["2012-10-27 failed: cut off"]


def test_day_without_outcome_is_a_surprise() -> None:
    assert surprises(LOADED, FAILED) == ["days without an outcome: 2012-10-27"]


def test_day_still_running_is_a_surprise() -> None:
    running = replace(SKIPPED, state="running", reason="")

    assert surprises(LOADED, running, FAILED) == ["2012-10-27 is running ()"]


def test_ledger_that_does_not_balance_is_a_surprise() -> None:
    assert surprises(replace(LOADED, read=7), SKIPPED, FAILED) == [
        "7 rows were read, 6 have an outcome"
    ]


def test_table_with_fewer_rows_than_the_ledger_is_a_surprise() -> None:
    assert surprises(LOADED, SKIPPED, FAILED, stored=3) == [
        "the ledger counts 4 stored rows, the table holds 3"
    ]


@pytest.mark.parametrize("state", [BackfillState.FAILED, BackfillState.CANCELED])
def test_backfill_that_was_ended_is_a_surprise(state: BackfillState) -> None:
    assert surprises(LOADED, SKIPPED, FAILED, state=state) == [
        f"Dagster ended the backfill as {state}"
    ]


def test_outcome_is_unchanged_only_if_nothing_was_written() -> None:
    same = replace(LOADED, rows=(0, 0, 4, 1, 1, 0))

    assert Outcome((same,)).is_unchanged
    assert not Outcome((LOADED,)).is_unchanged
    assert not Outcome((same, replace(SKIPPED, deleted=1))).is_unchanged
    assert not Outcome((SKIPPED,)).is_unchanged


def test_newest_load_of_each_day_counts(postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        insert_load(conn, "2012-10-22", inserted=5)
        before = newest_load_id(conn)
        insert_load(conn, "2012-10-22", state="failed")
        insert_load(conn, "2012-10-22", unchanged=5)
        insert_load(conn, "2012-10-23", inserted=5)

        outcome = read_outcome(conn, before)

    assert [(day.day, day.state, day.read) for day in outcome.days] == [
        ("2012-10-22", "success", 5),
        ("2012-10-23", "success", 5),
    ]
    assert outcome.rows == {
        "inserted": 5,
        "updated": 0,
        "unchanged": 5,
        "duplicate": 0,
        "rejected": 0,
        "skipped": 0,
    }
    assert (outcome.read, outcome.is_balanced, outcome.stored_rows) == (10, True, 0)


def insert_load(
    conn: psycopg.Connection,
    day: str,
    *,
    state: str = "success",
    inserted: int = 0,
    unchanged: int = 0,
) -> None:
    conn.execute(
        "INSERT INTO ops.loads"
        " (target, window_key, resource, state, rows_read, rows_inserted, rows_unchanged)"
        " VALUES ('market.daily_bars', %s, %s, %s, %s, %s, %s)",
        (day, day, state, inserted + unchanged, inserted, unchanged),
    )
