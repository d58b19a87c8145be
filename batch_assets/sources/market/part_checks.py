"""When a day has only a part of its rows because only some symbols were fetched.

Completeness against the market belongs in window_checks.py.
"""

from collections.abc import Sequence

from batch_assets.contracts.window_checks import Consequence, Counts, Finding, WindowCheck

FAILED_SYMBOLS = "failed_symbols"
SUBSET = "subset"

_QUOTED_SYMBOLS = 5


def judge_failed_symbols(counts: Counts) -> Finding | None:
    """Whether the vendor still owes symbols of the day.

    Args:
        counts: `failed` symbols, some `examples`, and the `first_message`.
    """
    if not counts["failed"]:
        return None
    names = ", ".join(counts["examples"])
    more = counts["failed"] - len(counts["examples"])
    listed = f"{names} and {more} more" if more > 0 else names
    return Finding(
        consequence=Consequence.PARTIAL,
        reason=FAILED_SYMBOLS,
        message=f"{counts['failed']} symbols could not be fetched ({listed}), the first because: "
        f"{counts['first_message']} Run the partition again: only these are asked. All of them "
        "are in market.failed_symbols.",
    )


FAILED_SYMBOLS_CHECK = WindowCheck("read_failed_symbols", judge_failed_symbols)


def subset_finding(symbols: Sequence[str]) -> Finding:
    """What is said of a day of which a person wanted some symbols only."""
    listed = ", ".join(symbols[:_QUOTED_SYMBOLS])
    more = len(symbols) - _QUOTED_SYMBOLS
    names = f"{listed} and {more} more" if more > 0 else listed
    return Finding(
        consequence=Consequence.PARTIAL,
        reason=SUBSET,
        message=f"only {names} were asked for, which does not make the day complete; run the "
        "partition without symbols for the whole of it",
    )


def subset_check(symbols: Sequence[str]) -> WindowCheck:
    """Every day of a run of chosen symbols is partial."""
    finding = subset_finding(symbols)
    return WindowCheck("read_subset_windows", lambda _: finding)
