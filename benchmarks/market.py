"""Vendors on loopback: one session, a year by day against files, a year by symbol.

The vendors are fakes that speak the real wire, in a process of their own, with replies prepared
beforehand. Each repetition begins with empty tables and takes the ways in turn, each time another
one first; afterwards every way must have stored the same rows, or the run is refused.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psutil
import psycopg

from batch_assets.sources.market.feed import Feed
from benchmarks.child import run_child
from benchmarks.command import Command, Setting, describe_run
from benchmarks.core_load import Loaded, load_days
from benchmarks.figures import iter_turns
from benchmarks.market_figures import Costs, figures_of
from benchmarks.market_year import DayFiles, write_year
from benchmarks.measure import measure
from benchmarks.real_market import SHARED_WIRE, wire_days
from benchmarks.server import BenchmarkServer, empty_tables
from benchmarks.vendor_feeds import SYMBOL_CONNECTIONS, build_feed, feeds_by_day, feeds_by_symbol
from benchmarks.vendor_process import LATENCY_SECONDS, VendorAddresses, open_vendors
from benchmarks.vendor_replies import copy_wire, write_by_day, write_by_symbol

# Sessions that are in the database before a single day is measured, so that the checks that
# compare a day with its neighbours have some.
_EARLIER_SESSIONS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    symbols: int
    sessions: int
    asked_symbols: int
    asked_sessions: int


SCALES = {
    "small": Scale(5_200, 20, asked_symbols=400, asked_sessions=243),
    "full": Scale(5_200, 243, asked_symbols=2_000, asked_sessions=243),
}


@dataclass(frozen=True, slots=True)
class Market:
    """What is asked for.

    Attributes:
        by_day: The market of the questions by day, as files.
        by_symbol: The market of the questions by symbol, as files.
        symbols: All symbols of the latter.
        wire: Trade dates of real replies, without files.
    """

    by_day: DayFiles
    by_symbol: DayFiles
    symbols: Sequence[str]
    wire: tuple[date, ...] = ()

    @classmethod
    def write(cls, scale: Scale, folder: Path, cache_dir: Path) -> "Market":
        """Write files and replies."""
        by_day = write_year(
            folder / "by-day", cache_dir, symbols=scale.symbols, sessions=scale.sessions
        )
        by_symbol = write_year(
            folder / "by-symbol",
            cache_dir,
            symbols=scale.asked_symbols,
            sessions=scale.asked_sessions,
        )
        replies = folder / "replies"
        write_by_day(by_day, replies)
        wire = wire_days()
        copy_wire(SHARED_WIRE, wire, replies)
        return cls(by_day, by_symbol, write_by_symbol(by_symbol, replies), wire)


@dataclass(frozen=True, slots=True)
class Way:
    """One way from a source to the table.

    Attributes:
        name: Of its figures.
        feed: What is loaded.
        days: Trade dates.
        rows: What it must come to.
    """

    name: str
    feed: Feed
    days: Sequence[date]
    rows: int


@dataclass(slots=True)
class MarketBenchmark:
    """Repetitions on one server against one set of vendors."""

    server: BenchmarkServer
    admin: psycopg.Connection
    postmaster: psutil.Process | None
    cache_dir: Path
    costs: Costs = field(default_factory=dict)

    def repeat_years(self, ways: Sequence[Way], repetitions: int) -> None:
        """All ways in turn, after one turn that nobody counts."""
        for is_counted, turn in iter_turns(ways, repetitions):
            checksums: dict[str, tuple[object, ...]] = {}
            for way in turn:
                empty_tables(self.admin)
                # Answers by symbol are kept on disk, and would not be asked for again.
                shutil.rmtree(self.cache_dir / "vendors", ignore_errors=True)
                self._load(way, is_counted=is_counted)
                checksums[way.name] = self._checksums()
            if len(set(checksums.values())) > 1:
                raise RuntimeError(f"stored {checksums}, expected the same rows from all")

    def repeat_days(self, make_ways: Callable[[date], Sequence[Way]], days: Sequence[date]) -> None:
        """A session a repetition, each after the ones before it; the first is not counted."""
        empty_tables(self.admin)
        earlier, measured = days[:_EARLIER_SESSIONS], days[_EARLIER_SESSIONS:]
        for way in make_ways(days[0]):
            load_days(self.server.connect, way.feed, self.cache_dir, earlier)
        for number, day in enumerate(measured):
            ways = make_ways(day)
            for way in ways if number % 2 else reversed(ways):
                self._load(way, is_counted=number > 0)

    def _load(self, way: Way, *, is_counted: bool) -> None:
        results: list[Loaded] = []

        def work() -> None:
            results.append(load_days(self.server.connect, way.feed, self.cache_dir, way.days))

        cost = measure(self.admin, work, postmaster=self.postmaster)
        ledger = results[0].ledger
        if (ledger.read, ledger.inserted) != (way.rows, way.rows):
            raise RuntimeError(f"{way.name}: {ledger}, expected {way.rows} read and inserted")
        if is_counted:
            self.costs.setdefault(way.name, []).append(cost)

    def _checksums(self) -> tuple[object, ...]:
        row = self.admin.execute(
            "SELECT count(*), sum(volume), sum(close), sum(open + high + low), sum(amount), "
            "sum(hashtext(symbol || trade_date || status)::bigint) FROM market.daily_bars"
        ).fetchone()
        assert row is not None
        return row


def run_years(benchmark: MarketBenchmark, market: Market, vendors: VendorAddresses, n: int) -> None:
    """A year by day, from files and from vendors, and a year by symbol."""
    files = market.by_day
    feeds = {"files": files.feed(), **feeds_by_day(vendors)}
    benchmark.repeat_years(
        [Way(f"year_{name}", feed, files.days, files.row_count) for name, feed in feeds.items()], n
    )
    files = market.by_symbol
    feeds = feeds_by_symbol(vendors, market.symbols)
    benchmark.repeat_years(
        [Way(f"year_{name}", feed, files.days, files.row_count) for name, feed in feeds.items()], n
    )


def run_sessions(
    benchmark: MarketBenchmark, market: Market, vendors: VendorAddresses, n: int
) -> None:
    """One session at a time, as a schedule loads it: a source of its own for each."""
    files = market.by_day
    feeds = feeds_by_day(vendors)
    rows = files.row_count // len(files.days)

    def ways(day: date) -> list[Way]:
        return [Way(f"day_{name}", feed, [day], rows) for name, feed in feeds.items()]

    del feeds["tushare_with_latency"]
    benchmark.repeat_days(ways, files.days[: _EARLIER_SESSIONS + n + 1])


def run_wire(benchmark: MarketBenchmark, market: Market, vendors: VendorAddresses, n: int) -> None:
    """A real reply of tushare, whose prices are adjusted; empty tables each time."""
    if not market.wire:
        return
    day = market.wire[0]
    feed = build_feed("tushare", vendor="tushare", base_url=vendors.http, prices="qfq")
    rows = len(json.loads((SHARED_WIRE / f"{day}.json").read_bytes())["data"]["items"])
    benchmark.repeat_years([Way("day_real_wire", feed, [day], rows)], n)


def run_market(setting: Setting[Scale]) -> dict[str, object]:
    """All figures of one scale, flat."""
    folder, scale = setting.folder, setting.scale
    cache_dir = folder / "cache"
    market = Market.write(scale, folder, cache_dir)
    with setting.open_server() as opened, open_vendors(folder / "replies") as vendors:
        server, admin = opened.server, opened.admin
        benchmark = MarketBenchmark(server, admin, opened.postmaster, cache_dir)
        for run in (run_sessions, run_wire, run_years):
            run(benchmark, market, vendors, setting.repetitions)
        figures: dict[str, object] = {
            **describe_run(("psycopg", "pgpq", "pyarrow", "httpx"), admin),
            "latency_seconds": LATENCY_SECONDS,
            "by_symbol_connections": SYMBOL_CONNECTIONS,
            "day_rows": scale.symbols,
            "year_rows": market.by_day.row_count,
            "by_symbol_rows": market.by_symbol.row_count,
            **figures_of(
                benchmark.costs, year_rows=market.by_day.row_count, symbols=len(market.symbols)
            ),
        }
        for name, files in (("tushare", market.by_day), ("by_symbol", market.by_symbol)):
            empty_tables(admin)
            shutil.rmtree(cache_dir / "vendors", ignore_errors=True)
            symbols = list(market.symbols) if name == "by_symbol" else []
            more = {"base_url": vendors.http, "symbols": symbols}
            measured = run_child("market", files, cache_dir, server.url, **more)
            figures[f"year_{name}_peak_memory_mb"] = measured["peak_memory_mb"]
    return figures


COMMAND = Command("market", "vendors on loopback, by day and by symbol", SCALES, run_market)
