"""A vendor that answers by symbol, as a market source: one question a symbol for a whole range.

Answers are kept on disk, a file a symbol, and read through the index that folders of files by
symbol have. A run that died is continued with the symbols that are not there yet.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from batch_assets.contracts.batch import RejectedRow
from batch_assets.errors import BatchAssetsError
from batch_assets.sources.market.columns import Columns
from batch_assets.sources.market.feed import Feed, FileFeed, FileFormat, Layout, VendorFeed
from batch_assets.sources.market.judge import Found, build_day_input
from batch_assets.sources.market.many_day_files import ManyDaySource
from batch_assets.sources.market.readers import mapping_fingerprint
from batch_assets.sources.market.source import DayInput, DayReason, DayState, MarketSource
from batch_assets.sources.market.vendors.feed_symbols import (
    read_symbols,
    source_identity,
    with_identity,
)
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.symbol_spool import Spool, find_spool, prune_spools
from batch_assets.sources.market.vendors.vendor import AnswersSymbols, VendorAccess

_QUOTED_SYMBOLS = 5


@dataclass(frozen=True, slots=True)
class AskedSymbols:
    """What a vendor was asked, and where it did not answer.

    Attributes:
        start: First trade date asked for.
        end: Last trade date asked for.
        symbols: All of the symbols.
        failures: Why those among them that failed did.
    """

    start: date
    end: date
    symbols: tuple[str, ...]
    failures: Mapping[str, BatchAssetsError]


def forget_asked(asked: AskedSymbols) -> None:
    """For those who want rows and no record of what was asked."""


@dataclass(frozen=True, slots=True)
class SymbolQuestion:
    """What a run wants from a vendor that is asked by symbol.

    Attributes:
        days: All trade dates of the run.
        symbols: Ask for these alone; None for all symbols of the feed.
        is_fresh: Use no answer of an earlier run.
        record: Told what was asked, before the first day is given.
    """

    days: Sequence[date] = ()
    symbols: tuple[str, ...] | None = None
    is_fresh: bool = False
    record: Callable[[AskedSymbols], None] = forget_asked


class VendorSymbolSource:
    """Asks each symbol once for all days of a run, then gives the days from disk."""

    def __init__(
        self,
        feed: VendorFeed,
        cache_dir: Path,
        access: VendorAccess,
        question: SymbolQuestion,
    ) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._access = access
        self._question = question
        self._days = frozenset(question.days)
        self._identity: str | None = None
        self._root = cache_dir / "vendors" / f"{feed.name}-{mapping_fingerprint(feed)}"
        self._range: tuple[date, date] | None = None
        self._files: MarketSource | None = None
        self._errors: dict[str, BatchAssetsError] = {}
        self._failure: BatchAssetsError | None = None

    def open_day(self, day: date, *, now: datetime) -> DayInput:
        """See MarketSource; the first day that should have rows makes the vendor be asked."""
        unasked = self._judge(day, now, Found())
        if unasked.state in (DayState.SKIPPED, DayState.NOT_READY):
            return unasked
        if self._failure is not None:
            raise self._failure
        files = self._fetched(day, now)
        found = files.open_day(day, now=now)
        if found.reason in (DayReason.MISSING_ROWS, DayReason.MISSING_FILE):
            # The vendor was asked, and has none: that is an answer, though not one to rely on.
            empty = Found(source_hash="empty", source_file=self._feed.place, is_empty=True)
            found = self._judge(day, now, empty)
        return self._with_warning(self._with_identity(found))

    def undated(self, *, now: datetime) -> tuple[RejectedRow, ...]:
        """See MarketSource."""
        return () if self._files is None else self._files.undated(now=now)

    def close(self) -> None:
        """Forget the index of the answers; connections are closed when all symbols are asked."""
        if self._files is not None:
            self._files.close()
        self._access.throttle.close()

    def _judge(self, day: date, now: datetime, found: Found) -> DayInput:
        return build_day_input(
            self._feed,
            day,
            found,
            now=now,
            cache_dir=self._cache_dir,
            read=lambda: iter(()),
            notes=Counter(),
        )

    def _fetched(self, day: date, now: datetime) -> MarketSource:
        if self._files is not None and self._range and self._range[0] <= day <= self._range[1]:
            return self._files
        wanted = [other for other in {*self._days, day} if self._needs_asking(other, now)]
        start, end = min(wanted), max(wanted)
        prune_spools(self._root, now, self._feed.reuse_minutes)
        symbols = self._question.symbols
        spool = find_spool(
            self._feed,
            self._root,
            (start, end),
            now=now,
            part_of=symbols,
            reuse_minutes=0 if self._question.is_fresh else self._feed.reuse_minutes,
        )
        wanted_symbols = read_symbols(self._feed) if symbols is None else list(symbols)
        try:
            self._errors = spool.fill(wanted_symbols, self._open_vendor, now=now)
        except BatchAssetsError as error:
            self._failure = error
            raise
        self._question.record(AskedSymbols(start, end, tuple(wanted_symbols), self._errors))
        self._files = self._open_answers(spool)
        self._range = (start, end)
        return self._files

    def _open_answers(self, spool: Spool) -> MarketSource:
        feed = _feed_of_answers(self._feed, spool.answers_dir)
        return ManyDaySource(feed, self._cache_dir, index_dir=spool.index_dir)

    def _with_identity(self, found: DayInput) -> DayInput:
        if found.source_hash is None:
            return found
        if self._identity is None:
            self._identity = source_identity(self._feed)
        return replace(found, source_hash=with_identity(self._identity, found.source_hash))

    def _needs_asking(self, day: date, now: datetime) -> bool:
        state = self._judge(day, now, Found()).state
        return state not in (DayState.SKIPPED, DayState.NOT_READY)

    def _open_vendor(self) -> AnswersSymbols:
        vendor = kind_of(self._feed.vendor).open(self._feed, self._access)
        if not isinstance(vendor, AnswersSymbols):
            raise TypeError(f"{self._feed.vendor} answers neither by day nor by symbol")
        return vendor

    def _with_warning(self, found: DayInput) -> DayInput:
        if not self._errors:
            return found
        quoted = list(self._errors)[:_QUOTED_SYMBOLS]
        more = len(self._errors) - len(quoted)
        names = ", ".join(quoted) + (f" and {more} more" if more else "")
        text = (
            f"{len(self._errors)} symbols could not be fetched ({names}), the first because: "
            f"{self._errors[quoted[0]]} Run the partition again: only these are asked."
        )
        return replace(found, is_warning=True, message=f"{found.message} {text}")


def _feed_of_answers(feed: VendorFeed, folder: Path) -> FileFeed:
    """The answers on disk as a feed of files with the vendor feed's meaning."""
    shared = {name: getattr(feed, name) for name in Feed.model_fields}
    named = {target: (name,) for target, name in kind_of(feed.vendor).columns.items()}
    absent = {target: () for target in Columns.model_fields if target not in named}
    return FileFeed(
        **{
            **shared,
            "folder": folder,
            "files": "*.parquet",
            "layout": Layout.BY_SYMBOL,
            "format": FileFormat.PARQUET,
            "columns": Columns(**named, **absent),
        }
    )
