"""What a market source answers about one day, and the decision whether to load it.

Files implement `MarketSource` in files.py; a vendor's adapter implements the same protocol.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from batch_assets.contracts.batch import RejectedRow, SourceBatch


class DayState(StrEnum):
    """What can be done with a day, before it is loaded.

    READY has rows to load. SKIPPED has none and needs none. NOT_READY may have rows later the
    same day. FAILED should have had rows. UNCONFIRMED_EMPTY gave none, and nothing says that
    this is right.
    """

    READY = "ready"
    SKIPPED = "skipped"
    NOT_READY = "not_ready"
    FAILED = "failed"
    UNCONFIRMED_EMPTY = "unconfirmed_empty"


class DayReason(StrEnum):
    """Why a day is in its state; the closed set shown in ledgers."""

    ROWS_FOUND = "rows_found"
    ROWS_ON_CLOSED_DAY = "rows_on_a_closed_day"
    NOT_A_SESSION = "not_a_session"
    BEFORE_FIRST_DAY = "before_first_day"
    BEFORE_CLOSE = "before_close"
    BEFORE_READY_TIME = "before_ready_time"
    MISSING_FILE = "missing_file"
    MISSING_ROWS = "missing_rows"
    NO_ROWS = "no_rows"
    UNKNOWN_SESSION = "calendar_does_not_cover_the_date"


@dataclass(frozen=True, slots=True)
class DayVerdict:
    """A state, its reason, and whether looking again later can change it."""

    state: DayState
    reason: DayReason
    is_retryable: bool = False
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class DayFacts:
    """Everything the decision about a day depends on.

    Attributes:
        is_session: Whether the exchange was open; None where no calendar says.
        is_before_first_day: The feed begins later.
        is_closed: The session's close has passed.
        is_due: The time from which the rows are expected has passed.
        has_input: A file for the day, or a row of it, is there.
        is_empty: The input is there and surely has no row.
        holds_many_days: Files of many days are there.
        ends_before: They all end before the day.
    """

    is_session: bool | None
    is_before_first_day: bool = False
    is_closed: bool = True
    is_due: bool = True
    has_input: bool = False
    is_empty: bool = False
    holds_many_days: bool = False
    ends_before: bool = False


def evaluate_day(facts: DayFacts) -> DayVerdict:
    """Decide what to do with a day; the table is in the tests.

    A day is skipped only when it is known to need no rows. Rows on a day that a calendar calls
    closed are loaded with a warning, because the data is the truth.
    """
    if facts.has_input and not facts.is_empty:
        return _evaluate_with_rows(facts)
    if facts.is_before_first_day:
        return DayVerdict(DayState.SKIPPED, DayReason.BEFORE_FIRST_DAY)
    if facts.is_session is False:
        return DayVerdict(DayState.SKIPPED, DayReason.NOT_A_SESSION)
    if not facts.is_closed:
        return DayVerdict(DayState.NOT_READY, DayReason.BEFORE_CLOSE, is_retryable=True)
    if not facts.is_due:
        return DayVerdict(DayState.NOT_READY, DayReason.BEFORE_READY_TIME, is_retryable=True)
    if facts.is_empty:
        return DayVerdict(DayState.UNCONFIRMED_EMPTY, DayReason.NO_ROWS, is_retryable=True)
    if facts.is_session is None:
        return DayVerdict(DayState.UNCONFIRMED_EMPTY, DayReason.UNKNOWN_SESSION, is_retryable=True)
    if facts.holds_many_days and not facts.ends_before:
        return DayVerdict(DayState.UNCONFIRMED_EMPTY, DayReason.NO_ROWS, is_retryable=True)
    reason = DayReason.MISSING_ROWS if facts.holds_many_days else DayReason.MISSING_FILE
    return DayVerdict(DayState.FAILED, reason, is_retryable=True)


def _evaluate_with_rows(facts: DayFacts) -> DayVerdict:
    if facts.is_session is False:
        return DayVerdict(DayState.READY, DayReason.ROWS_ON_CLOSED_DAY, is_warning=True)
    if not facts.is_closed:
        # A file written during the session is not the day yet.
        return DayVerdict(DayState.NOT_READY, DayReason.BEFORE_CLOSE, is_retryable=True)
    return DayVerdict(DayState.READY, DayReason.ROWS_FOUND)


@dataclass(frozen=True, slots=True)
class DayInput:
    """One trade date as a source offers it.

    Attributes:
        trade_date: The exchange's date.
        state: What to do.
        reason: Why, as a value of DayReason.
        message: The same for a person: what was seen, what was expected, what to do next.
        source_hash: Identity of the bytes and of the mapping; equal hashes give equal rows. None
            where there is nothing to read.
        source_file: Files read, relative to the feed's folder.
        is_retryable: Looking again later can give another answer.
        is_warning: The day is loaded, and a person should look.
        read: Gives the batches, only for READY; each call reads anew. A day that turns out to
            have no record yields nothing: call it UNCONFIRMED_EMPTY, not a success.
        notes: What happened to values without costing the row, counted by rule; complete once
            the last batch of `read` is taken.
    """

    trade_date: date
    state: DayState
    reason: str
    message: str
    source_hash: str | None
    source_file: str
    is_retryable: bool
    is_warning: bool
    read: Callable[[], Iterator[SourceBatch]]
    notes: Counter[str] = field(default_factory=Counter)


class MarketSource(Protocol):
    """A feed that can be asked for one trade date."""

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """Find out what the source has for a day.

        Args:
            day: The exchange's trade date.
            now: The present, aware.

        Raises:
            SourceUnavailable: The source does not answer; retry.
            UnreadableSource: A file of the day cannot be opened or decoded.
            SourceChanged: A file was being written; retry.
        """
        ...

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:
        """Rows that belong to no day because their date cannot be read."""
        ...

    def close(self) -> None:
        """Give back what is held open; the source can be asked again."""
        ...
