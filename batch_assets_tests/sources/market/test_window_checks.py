from datetime import date

import pytest

from batch_assets.contracts.window_checks import Consequence, Finding
from batch_assets.sources.market.window_checks import (
    allowed_missing,
    explain_missing,
    judge_completeness,
    judge_copy,
)

NONE = {"expected": 0, "missing": 0, "examples": None, "previous_key": None, "previous_rows": None}


@pytest.mark.parametrize(
    ("symbols", "allowed"), [(0, 20), (100, 20), (4000, 20), (4001, 20), (4200, 21), (5400, 27)]
)
def test_allowed_are_half_a_percent_or_twenty(symbols: int, allowed: int) -> None:
    assert allowed_missing(symbols) == allowed


@pytest.mark.parametrize(("missing", "is_partial"), [(0, False), (27, False), (28, True)])
def test_universe_decides_where_it_is_known(missing: int, is_partial: bool) -> None:
    counts = {
        **NONE,
        "expected": 5400,
        "missing": missing,
        "examples": ["A", "B"],
        "stored": 5400,
        "previous_rows": 9000,
        "previous_key": "2024-09-27",
        "excused": 0,
    }

    finding = judge_completeness(counts)

    assert (finding is not None) is is_partial
    if finding:
        assert finding.consequence is Consequence.PARTIAL
        assert finding.message.startswith("28 of 5400 symbols")


@pytest.mark.parametrize(
    ("stored", "excused", "is_partial"),
    [
        (5400, 0, False),
        (5373, 0, False),
        (5372, 0, True),
        (5273, 100, False),
        (5272, 100, True),
        (6000, 0, False),
    ],
)
def test_day_before_decides_where_no_universe_is_known(
    stored: int, excused: int, is_partial: bool
) -> None:
    counts = {
        **NONE,
        "stored": stored,
        "previous_rows": 5400,
        "previous_key": "2024-09-27",
        "excused": excused,
    }

    assert (judge_completeness(counts) is not None) is is_partial


def test_first_day_has_nothing_to_be_held_against() -> None:
    assert judge_completeness({**NONE, "stored": 1, "excused": 0}) is None


@pytest.mark.parametrize(
    ("common", "same", "is_copy"),
    [(5000, 2500, False), (5000, 2501, True), (20, 11, True), (19, 19, False), (0, 0, False)],
)
def test_more_than_half_of_twenty_equal_bars_make_a_copy(
    common: int, same: int, is_copy: bool
) -> None:
    finding = judge_copy(
        {
            "common": common,
            "same": same,
            "window_key": "2024-09-30",
            "other_key": "2024-09-27",
        }
    )

    assert (finding is not None) is is_copy
    if finding:
        assert finding.consequence is Consequence.FAIL


@pytest.mark.parametrize(
    ("window_key", "other_key", "is_copy"),
    [
        ("2024-09-30", "2024-09-27", False),
        ("2024-09-27", "2024-09-30", False),
        ("2024-09-30", "2024-10-08", True),
        ("2024-09-27", "2024-09-26", True),
    ],
)
def test_day_that_really_repeats_the_one_before_is_no_copy_of_it(
    window_key: str, other_key: str, is_copy: bool
) -> None:
    counts = {"common": 50, "same": 50, "window_key": window_key, "other_key": other_key}

    finding = judge_copy(counts, [date(2024, 9, 30)])

    assert (finding is not None) is is_copy
    if finding:
        assert f"add {max(window_key, other_key)} to identical_days" in finding.message


def test_missing_exchange_and_runs_are_named() -> None:
    finding = Finding(Consequence.PARTIAL, "missing_symbols", "30 of 90 are missing")

    scattered = explain_missing(finding, {"exchanges": None, "runs": None})
    runs = [f"{n}" for n in range(5)]
    both = explain_missing(finding, {"exchanges": ["SZ"], "runs": runs})

    assert scattered == finding
    assert both.reason == "missing_exchange"
    assert both.message.startswith("every symbol of SZ is missing")
    assert "0, 1, 2 and 2 more; 30 of 90 are missing" in both.message
