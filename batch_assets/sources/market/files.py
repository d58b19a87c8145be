"""Feeds as market sources: of files, or of a vendor."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from batch_assets.sources.market.chosen_symbols import ChosenSymbols
from batch_assets.sources.market.day_files import DayFileSource
from batch_assets.sources.market.feed import Feed, FileFeed, Layout, VendorFeed
from batch_assets.sources.market.file_names import has_date
from batch_assets.sources.market.many_day_files import ManyDaySource
from batch_assets.sources.market.plan import Route
from batch_assets.sources.market.source import MarketSource
from batch_assets.sources.market.vendors.feed_symbols import has_symbols, read_symbols
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.symbol_source import SymbolQuestion, VendorSymbolSource
from batch_assets.sources.market.vendors.vendor import (
    Secrets,
    SoleUse,
    Throttle,
    Unthrottled,
    VendorAccess,
    no_secrets,
)
from batch_assets.sources.market.vendors.vendor_source import VendorDaySource


def open_feed(
    feed: Feed,
    cache_dir: Path,
    *,
    secret: Secrets = no_secrets,
    days: Sequence[date] = (),
    question: SymbolQuestion | None = None,
    route: Route | None = None,
    throttle: Throttle | None = None,
    sole_use: SoleUse | None = None,
) -> MarketSource:
    """The source of a feed; opens no file and no connection yet.

    Args:
        feed: The mapping.
        cache_dir: Folder for calendars, for the index of folders whose files hold many days, and
            for the answers of vendors that are asked by symbol.
        secret: Gives tokens by the name of their variable; `Settings.secret`.
        days: All trade dates the run will ask for, where they are known: a vendor that answers by
            symbol is then asked once a symbol for all of them.
        question: The same, and more that a run may want; then `days` is not needed.
        route: How to fetch, where a vendor has more than one way; else by day if it can.
        throttle: Says when a vendor may be asked; closed with the source.
        sole_use: Of a vendor that allows one connection; a lock of this machine if absent.
    """
    question = question or SymbolQuestion(days)
    if isinstance(feed, VendorFeed):
        access = VendorAccess(secret, cache_dir / "locks", throttle or Unthrottled(), sole_use)
        return _open_vendor(feed, cache_dir, access, question, route)
    if not isinstance(feed, FileFeed):
        raise TypeError(f"feed {feed.name} is a {type(feed).__name__}, expected files or a vendor")
    is_by_day = feed.layout is Layout.BY_DAY and has_date(feed.files)
    source = DayFileSource(feed, cache_dir) if is_by_day else ManyDaySource(feed, cache_dir)
    return source if question.symbols is None else ChosenSymbols(source, question.symbols)


def _open_vendor(
    feed: VendorFeed,
    cache_dir: Path,
    access: VendorAccess,
    question: SymbolQuestion,
    route: Route | None,
) -> MarketSource:
    by_day = kind_of(feed.vendor).by_day
    if route is Route.BY_SYMBOL_RANGE or not by_day:
        return VendorSymbolSource(feed, cache_dir, access, question)
    source = VendorDaySource(feed, cache_dir, access)
    symbols = question.symbols
    if symbols is None and has_symbols(feed):
        symbols = tuple(read_symbols(feed))
    return source if symbols is None else ChosenSymbols(source, symbols)
