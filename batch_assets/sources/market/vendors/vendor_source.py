"""A vendor that answers by day, as a market source.

A day that needs no rows, or cannot have them yet, is judged without asking.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from batch_assets.contracts.batch import RejectedRow, SourceBatch
from batch_assets.errors import LeaseHeld, SourceRefused, SourceUnavailable
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.judge import Found, build_day_input
from batch_assets.sources.market.parse import BarParser
from batch_assets.sources.market.raw_table import RawTable
from batch_assets.sources.market.readers import mapping_fingerprint
from batch_assets.sources.market.source import DayInput, DayReason, DayState
from batch_assets.sources.market.spellings import Spellings
from batch_assets.sources.market.vendors.feed_symbols import source_identity, with_identity
from batch_assets.sources.market.vendors.own_calendar import OwnCalendar
from batch_assets.sources.market.vendors.raw_answers import as_raw_table, hash_answer
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.vendor import AnswersDays, VendorAccess

T = TypeVar("T")

REQUIRED = ("symbol", "open", "high", "low", "close", "volume")

# A range of a year asks 243 times: when this many days in a row have failed, each after all its
# attempts, the vendor is down, and the rest of the range is not asked.
_FAILURES_TO_STOP = 3


class VendorDaySource:
    """Asks once a day; each answer is held until its day is loaded."""

    def __init__(self, feed: VendorFeed, cache_dir: Path, access: VendorAccess) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._kind = kind_of(feed.vendor)
        self._fingerprint = mapping_fingerprint(feed)
        self._identity: str | None = None
        self._spellings = Spellings(feed)
        self._gate = Gate(feed)
        self._throttle = access.throttle
        vendor = self._kind.open(feed, access)
        if not isinstance(vendor, AnswersDays):
            raise TypeError(f"{feed.vendor} does not answer by day; it needs a symbol source")
        self._vendor: AnswersDays = vendor
        self._calendar = OwnCalendar(
            vendor, cache_dir / "vendors" / f"{feed.name}-{self._fingerprint}"
        )

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource; asks the vendor for a day that should have rows."""
        parser = BarParser(self._feed, self._spellings)
        judge = partial(
            build_day_input,
            self._feed,
            day,
            now=now,
            cache_dir=self._cache_dir,
            notes=parser.notes,
        )
        unasked = judge(Found(), read=lambda: iter(()))
        if unasked.reason == DayReason.UNKNOWN_SESSION:
            judge = partial(judge, source_days=self._calendar.days_around(day, now=now))
            unasked = judge(Found(), read=lambda: iter(()))
        if unasked.state in (DayState.SKIPPED, DayState.NOT_READY):
            return unasked
        raw, source_hash = self._gate.ask(partial(self._fetch, day))
        found = Found(source_hash=source_hash, source_file=raw.file, is_empty=raw.read_rows == 0)
        return judge(found, read=partial(_read, parser, raw, day))

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:  # noqa: ARG002 - the protocol's
        """Nothing: a row belongs to the day that was asked for."""
        return ()

    def close(self) -> None:
        """Give connections back."""
        self._vendor.close()
        self._throttle.close()

    def _fetch(self, day: date) -> tuple[RawTable, str]:
        answer = self._vendor.fetch_day(day)
        raw = as_raw_table(answer, self._kind.columns, required=REQUIRED)
        names = list(self._kind.columns.values())
        if self._identity is None:
            self._identity = source_identity(self._feed)
        return raw, with_identity(self._identity, hash_answer(answer, names, self._fingerprint))


def _read(parser: BarParser, raw: RawTable, day: date) -> Iterator[SourceBatch]:
    parser.notes.clear()
    yield parser.parse(raw, day)


class Gate:
    """Stops asking a vendor that refuses, or is down, for the rest of a run."""

    def __init__(self, feed: VendorFeed) -> None:
        self._feed = feed
        self._failures = 0
        self._reason = ""
        self._is_refused = False
        self._held: LeaseHeld | None = None

    def ask(self, question: Callable[[], T]) -> T:
        """The answer, unless earlier failures say that there will be none.

        Raises:
            SourceRefused: The vendor refused, now or before.
            SourceUnavailable: The vendor failed, now or too often before.
            LeaseHeld: Its one connection is somebody else's; waited for it once.
        """
        if self._held is not None:
            raise self._held
        if self._is_refused:
            raise SourceRefused(
                f"not asked, because an earlier request was refused: {self._reason}"
            )
        if self._failures >= _FAILURES_TO_STOP:
            raise SourceUnavailable(
                f"not asked, because {self._failures} requests in a row have failed, the last: "
                f"{self._reason}"
            )
        try:
            answer = question()
        except SourceRefused as error:
            self._is_refused, self._reason = True, str(error)
            raise
        except LeaseHeld as error:
            self._held = error
            raise
        except SourceUnavailable as error:
            self._failures, self._reason = self._failures + 1, str(error)
            raise
        self._failures = 0
        return answer
