"""Why a run fetches a day, or passes it over. Pure decisions about what is stored.

Judging what a source answers about a day belongs in source.py, how days are fetched in plan.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Why(StrEnum):
    """Why a run looks at a day, or passes it over; the closed set of ops.plan_windows."""

    MISSING = "missing"
    FAILED = "failed"
    PARTIAL = "partial"
    FAILED_SYMBOLS = "failed_symbols"
    NOT_READY = "not_ready"
    UNCONFIRMED_EMPTY = "unconfirmed_empty"
    CHANGED_SOURCE = "changed_source"
    OLDER_CONTRACT = "older_contract"
    CHANGED_TABLE = "changed_table"
    CORRECTION_WINDOW = "correction_window"
    FORCED = "forced"
    SUBSET = "subset"
    ALREADY_PRESENT = "already_present"
    NOT_A_SESSION = "not_a_session"
    BEFORE_FIRST_DAY = "before_first_day"
    NOT_DUE = "not_due"


NEEDS_NOTHING = frozenset(
    {Why.ALREADY_PRESENT, Why.NOT_A_SESSION, Why.BEFORE_FIRST_DAY, Why.NOT_DUE}
)


@dataclass(frozen=True, slots=True)
class StoredDay:
    """What the ledger and the table say about one day that was looked at before.

    Attributes:
        state: Of the newest load that says something about the whole day; as ops.loads has it.
        reason: Of the same load.
        read_at: When that load began; aware.
        rows: Rows in the table now.
        source_hash: Of what was read then.
        is_same_source: The mapping and the list of symbols are what they were then.
        is_same_contract: The table's contract is.
        is_same_table: Nobody but the core has changed the day's rows since.
        owed_symbols: Symbols the vendor still owes the day.
    """

    state: str
    reason: str
    read_at: datetime
    rows: int = 0
    source_hash: str | None = None
    is_same_source: bool = True
    is_same_contract: bool = True
    is_same_table: bool = True
    owed_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DayAsked:
    """One day a run was asked for, and everything the decision about it depends on.

    Attributes:
        is_session: Whether the exchange was open; None where no calendar says.
        is_before_first_day: The feed begins later.
        is_due: Its rows should be there.
        corrected_since: The day is in the correction window, and is read again unless it was
            read after this instant; None outside of the window.
        stored: What is known of it; None where it was never looked at.
    """

    day: date
    is_session: bool | None = True
    is_before_first_day: bool = False
    is_due: bool = True
    corrected_since: datetime | None = None
    stored: StoredDay | None = None


@dataclass(frozen=True, slots=True)
class PlannedDay:
    """A day with the reason to fetch it or not."""

    day: date
    why: Why
    stored: StoredDay | None = None

    @property
    def is_needed(self) -> bool:
        """Whether the source is asked for it."""
        return self.why not in NEEDS_NOTHING


_STATES: Mapping[str, Why] = {
    "failed": Why.FAILED,
    "partial": Why.PARTIAL,
    "not_ready": Why.NOT_READY,
    "unconfirmed_empty": Why.UNCONFIRMED_EMPTY,
    # A load that never ended, or a day that was closed when it was looked at and is not now.
    "running": Why.FAILED,
    "skipped": Why.MISSING,
}


def evaluate_need(asked: DayAsked, *, is_forced: bool = False, is_subset: bool = False) -> Why:
    """Why a day is fetched, or is not; the table is in the tests.

    Args:
        asked: The day.
        is_forced: A person wants every day fetched, whatever is stored.
        is_subset: A person named symbols: what is stored of the whole day does not matter.
    """
    if asked.is_before_first_day:
        return Why.BEFORE_FIRST_DAY
    if asked.is_session is False:
        return Why.NOT_A_SESSION
    if not asked.is_due:
        return Why.NOT_DUE
    if is_subset:
        return Why.SUBSET
    if is_forced:
        return Why.FORCED
    return Why.MISSING if asked.stored is None else _why_again(asked, asked.stored)


def _why_again(asked: DayAsked, stored: StoredDay) -> Why:
    if not stored.is_same_source:
        return Why.CHANGED_SOURCE
    if not stored.is_same_contract:
        return Why.OLDER_CONTRACT
    # Also after a run for the owed symbols that failed: the rest of the day is stored.
    if stored.reason == Why.FAILED_SYMBOLS and stored.owed_symbols:
        return Why.FAILED_SYMBOLS
    if stored.state != "success":
        return _STATES[stored.state]
    if not stored.is_same_table:
        return Why.CHANGED_TABLE
    if asked.corrected_since is not None and stored.read_at < asked.corrected_since:
        return Why.CORRECTION_WINDOW
    return Why.ALREADY_PRESENT


def repair_ranges(days: Sequence[PlannedDay], wanted: frozenset[Why]) -> list[tuple[date, date]]:
    """Days with a wanted reason as ranges; days without a session do not part them.

    Args:
        days: Days in a row, oldest first.
        wanted: Reasons to repair a day.

    Returns:
        First and last day of each range.
    """
    ranges: list[tuple[date, date]] = []
    is_open = False
    for day in days:
        if day.why in wanted:
            first = ranges.pop()[0] if is_open else day.day
            ranges.append((first, day.day))
            is_open = True
        elif day.why not in (Why.NOT_A_SESSION, Why.BEFORE_FIRST_DAY):
            is_open = False
    return ranges
