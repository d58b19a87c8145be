"""Rows that are left out of a load, and what is kept of them."""

import pytest

from batch_assets.errors import RejectLimitExceeded
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.prepare import RejectLimit
from batch_assets.loading.report import LoadState
from batch_assets_tests.loading.synthetic import (
    create_table,
    load,
    many_rows,
    query,
    rows_of,
    source_of,
)

LENIENT = RejectLimit(rows=1000, ratio=1.0)


@pytest.fixture
def database(postgres: str) -> str:
    create_table(postgres)
    return postgres


def test_rejected_rows_become_dead_letters_with_value_reason_and_place(database: str) -> None:
    rows = [("A", "1", None), ("B", "abc", "n"), ("C", "-4", None), ("D", None, None)]

    [report] = load(database, source_of(rows), reject_limit=LENIENT)

    assert report.ledger == Ledger(read=4, inserted=1, rejected=3)
    assert report.reject_reasons == {
        "unparsable_number": 1,
        "negative_value": 1,
        "missing_value": 1,
    }
    letters = query(
        database,
        "SELECT source_file, row_number, rule, violations -> 0 ->> 'observed', original ->> 'price'"
        " FROM ops.dead_letters WHERE state = 'open' ORDER BY row_number",
    )
    assert letters == [
        ("2024-09-30.csv", 2, "unparsable_number", "abc", "abc"),
        ("2024-09-30.csv", 3, "negative_value", "-4.000000", "-4"),
        ("2024-09-30.csv", 4, "missing_value", None, None),
    ]


def test_a_dead_letter_met_again_is_the_same_one_and_a_corrected_one_is_superseded(
    database: str,
) -> None:
    bad, good = ("B", "abc", None), ("A", "1", None)
    load(database, source_of([good, bad]), reject_limit=LENIENT)
    load(database, source_of([good, bad]), reject_limit=LENIENT, force=True)

    seen = query(database, "SELECT state, seen_count FROM ops.dead_letters")
    load(database, source_of([good, ("B", "2", None)]), reject_limit=LENIENT)

    assert seen == [("open", 2)]
    assert query(database, "SELECT state FROM ops.dead_letters") == [("superseded",)]


def test_too_many_rejects_fail_the_window_and_keep_every_dead_letter(database: str) -> None:
    rows = [*many_rows(10), ("X", "?", None), ("Y", "?", None)]

    [report] = load(database, source_of(rows), reject_limit=RejectLimit(rows=1, ratio=1.0))

    assert report.state is LoadState.FAILED
    assert isinstance(report.error, RejectLimitExceeded)
    assert "2 of 12 rows were rejected (unparsable_number 2)" in str(report.error)
    assert rows_of(database) == []
    assert query(database, "SELECT count(*) FROM ops.dead_letters") == [(2,)]


def test_equal_copies_count_as_duplicates_and_disagreeing_copies_are_rejected(
    database: str,
) -> None:
    rows = [
        ("A", "1", None),
        ("B", "2", None),
        ("A", "1", None),
        ("C", "3", None),
        ("C", "4", None),
    ]

    [report] = load(database, source_of(rows), reject_limit=LENIENT)

    assert report.ledger == Ledger(read=5, inserted=2, duplicate=1, rejected=2)
    assert report.reject_reasons == {"conflicting_duplicate_key": 2}
    assert sorted(row.row for row in report.quoted_rejects) == [4, 5]
