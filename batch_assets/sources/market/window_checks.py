"""When a day of bars is incomplete, or a copy of another day. Pure decisions about counts.

The counts come from read_day_completeness.sql, find_missing_symbols.sql and find_stale_copies.sql.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import date

from batch_assets.contracts.window_checks import Consequence, Counts, Finding, WindowCheck

# A day may lack this share of its symbols, or this many if that is more. Calibrated on 11 years
# of A-shares: only mass suspensions exceed it.
MISSING_RATIO = 0.005
MISSING_SYMBOLS = 20

# Two sessions of a market never have that many equal bars; a feed that repeats yesterday does.
COPIED_RATIO = 0.5
COPIED_SYMBOLS = 20

# Runs of neighbouring codes spelled out in one message.
_LISTED_RUNS = 3


def judge_completeness(counts: Counts) -> Finding | None:
    """Whether too many symbols are missing.

    Args:
        counts: `expected` (listed and not suspended, 0 where that is not known), `missing` of
            them with some `examples`; `stored` rows, `previous_rows` on `previous_key`, of which
            `excused` are suspended or delisted.
    """
    if counts["expected"]:
        return _against_universe(counts)
    return _against_previous(counts)


def _against_universe(counts: Counts) -> Finding | None:
    expected, missing = counts["expected"], counts["missing"]
    if missing <= allowed_missing(expected):
        return None
    return _partial(
        f"{missing} of {expected} symbols that are listed and not suspended have no bar "
        f"({', '.join(counts['examples'])} and so on), allowed are {allowed_missing(expected)}"
    )


def _against_previous(counts: Counts) -> Finding | None:
    previous = counts["previous_rows"]
    if previous is None:
        return None
    drop = previous - counts["excused"] - counts["stored"]
    if drop <= allowed_missing(previous):
        return None
    return _partial(
        f"{counts['stored']} rows after {previous} on {counts['previous_key']}, of which "
        f"{counts['excused']} are suspended or delisted; a drop of {allowed_missing(previous)} "
        "is allowed"
    )


def _partial(seen: str) -> Finding:
    return Finding(
        consequence=Consequence.PARTIAL,
        reason="missing_symbols",
        message=f"{seen}; load the day again when the source has the rest, or load the list of "
        "suspensions",
    )


def explain_missing(finding: Finding, details: Counts) -> Finding:
    """The finding with how the missing symbols lie.

    Args:
        details: `exchanges` of which every symbol is missing, and `runs` of neighbouring codes.
    """
    exchanges, runs = details["exchanges"] or (), details["runs"] or ()
    seen = ""
    if exchanges:
        seen += (
            f"every symbol of {', '.join(exchanges)} is missing, so the request for it failed or "
            "was not made; "
        )
    if runs:
        more = f" and {len(runs) - _LISTED_RUNS} more" if len(runs) > _LISTED_RUNS else ""
        seen += (
            f"neighbouring codes are missing together, which suspensions do not do: "
            f"{', '.join(runs[:_LISTED_RUNS])}{more}; "
        )
    reason = "missing_exchange" if exchanges else finding.reason
    return replace(finding, reason=reason, message=f"{seen}{finding.message}")


def allowed_missing(symbols: int) -> int:
    """How many of so many symbols may be missing on a complete day."""
    return max(MISSING_SYMBOLS, int(MISSING_RATIO * symbols))


def judge_copy(counts: Counts, identical_days: Collection[date] = ()) -> Finding | None:
    """Whether most bars are those of a neighbouring session.

    Args:
        counts: `common` symbols that traded on both days, `same` of them with equal bars, the
            `window_key` and the `other_key`.
        identical_days: Days of which a person says that they are equal to the one before.
    """
    common, same = counts["common"], counts["same"]
    later = max(counts["window_key"], counts["other_key"])
    if later in {day.isoformat() for day in identical_days}:
        return None
    if common < COPIED_SYMBOLS or same <= COPIED_RATIO * common:
        return None
    return Finding(
        consequence=Consequence.FAIL,
        reason="stale_copy",
        message=f"{same} of {common} symbols have exactly the bar of {counts['other_key']}, "
        f"expected less than {COPIED_RATIO:.0%}; one of the two days is a copy of the other: "
        f"get it from the source again, or add {later} to identical_days of the feed if the "
        "market really stood still",
    )


COMPLETENESS_CHECK = WindowCheck(
    "read_day_completeness", judge_completeness, "find_missing_symbols", explain_missing
)


def copy_check(identical_days: Collection[date]) -> WindowCheck:
    """No day repeats the bars of a neighbour, but those that really do."""
    return WindowCheck(
        "find_stale_copies",
        lambda counts: judge_copy(counts, identical_days),
        sampled_column="symbol",
    )
