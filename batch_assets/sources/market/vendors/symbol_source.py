"""A vendor that answers by symbol, as a market source: one question a symbol for a whole range.

Answers are kept on disk, a file a symbol, and read through the index that folders of files by
symbol have. A run that died is continued with the symbols that are not there yet.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from batch_assets.contracts.batch import RejectedRow
from batch_assets.errors import BatchAssetsError, ConfigurationError
from batch_assets.sources.market.columns import Columns
from batch_assets.sources.market.feed import Feed, FileFeed, FileFormat, Layout, VendorFeed
from batch_assets.sources.market.judge import Found, build_day_input
from batch_assets.sources.market.many_day_files import ManyDaySource
from batch_assets.sources.market.readers import mapping_fingerprint
from batch_assets.sources.market.source import DayInput, DayReason, DayState, MarketSource
from batch_assets.sources.market.symbols import CANONICAL
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.symbol_spool import Spool, prune_spools
from batch_assets.sources.market.vendors.vendor import AnswersSymbols, VendorAccess

_QUOTED_SYMBOLS = 5


class VendorSymbolSource:
    """Asks each symbol once for all days of a run, then gives the days from disk."""

    def __init__(
        self, feed: VendorFeed, cache_dir: Path, access: VendorAccess, days: Sequence[date]
    ) -> None:
        self._feed = feed
        self._cache_dir = cache_dir
        self._access = access
        self._days = frozenset(days)
        self._root = cache_dir / "vendors" / f"{feed.name}-{mapping_fingerprint(feed)}"
        self._range: tuple[date, date] | None = None
        self._files: MarketSource | None = None
        self._errors: dict[str, str] = {}
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
        return self._with_warning(found)

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
        spool = Spool(self._feed, self._root / f"{start}_{end}", start, end)
        symbols = read_symbols(self._feed)
        try:
            self._errors = spool.fill(symbols, self._open_vendor, now=now)
        except BatchAssetsError as error:
            self._failure = error
            raise
        feed = _feed_of_answers(self._feed, spool.answers_dir)
        self._files = ManyDaySource(feed, self._cache_dir, index_dir=spool.index_dir)
        self._range = (start, end)
        return self._files

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


def read_symbols(feed: VendorFeed) -> list[str]:
    """The symbols a feed asks for, each once, in the order they are written.

    Raises:
        ConfigurationError: The file cannot be read, or a line is no canonical symbol.
    """
    symbols = list(feed.symbols)
    if feed.symbols_file is not None:
        try:
            lines = feed.symbols_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"symbols_file {feed.symbols_file} of feed {feed.name} cannot be read ({error}); "
                "expected one symbol a line, in UTF-8"
            ) from error
        symbols += [text for line in lines if (text := line.partition("#")[0].strip())]
    wrong = next((symbol for symbol in symbols if not CANONICAL.fullmatch(symbol)), None)
    if wrong is not None or not symbols:
        raise ConfigurationError(
            f"feed {feed.name} asks for {wrong!r}, expected canonical symbols such as 600000.SH or "
            "AAPL.US; correct symbols or symbols_file"
        )
    return list(dict.fromkeys(symbols))


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
