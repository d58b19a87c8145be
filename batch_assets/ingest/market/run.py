"""A planned run of a feed: what is present is passed over, the rest is fetched group by group.

plan -> record -> for each group: source, sync_days -> record what it took
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from batch_assets.contracts.table import Window
from batch_assets.ingest.market.daily_bars import DayReport, Part, contract_of, scope_of, sync_days
from batch_assets.ingest.market.plan import PlanOutcome, begin_plan, finish_plan
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import Outcome
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadState
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.files import open_feed
from batch_assets.sources.market.need import Why
from batch_assets.sources.market.plan import Plan, PlanGroup
from batch_assets.sources.market.source import MarketSource
from batch_assets.sources.market.vendors.call_meter import CallMeter
from batch_assets.sources.market.vendors.symbol_source import AskedSymbols, SymbolQuestion
from batch_assets.sources.market.vendors.vendor import Secrets, SoleUse, Throttle, no_secrets


@dataclass(frozen=True, slots=True)
class MarketAccess:
    """What a run may use besides the database.

    Attributes:
        cache_dir: Folder for calendars, indexes and answers by symbol.
        secret: Gives tokens by the name of their variable.
        throttle: Says when the vendor may be asked.
        sole_use: Of a vendor that allows one connection.
    """

    cache_dir: Path
    secret: Secrets = no_secrets
    throttle: Throttle | None = None
    sole_use: SoleUse | None = None


def sync_plan(
    connect: Connector,
    feed: Feed,
    plan: Plan,
    access: MarketAccess,
    *,
    now: datetime,
    options: LoadOptions,
    may_begin: Callable[[], bool] = lambda: True,
) -> Iterator[DayReport]:
    """Carry out a plan; every day is reported as soon as it is committed.

    Args:
        connect: Opens a connection.
        feed: What the plan was made for.
        plan: What to fetch, and how.
        access: Cache, tokens and limits.
        now: The present, aware.
        options: How days are loaded.
        may_begin: Asked before each day that is fetched or read, in threads of the load too; the
            plan ends where it says no. Where a vendor is asked by symbol, the answers hold all
            days, and are asked for before.

    Yields:
        One report for each day of the plan, and at most one for each group for rows without a
        readable date.

    Raises:
        DatabaseUnavailable: The database failed; days reported before are committed.
    """
    run = _Run(connect, feed, plan, access, now, options, may_begin)
    plan_id = begin_plan(connect, feed, plan, options.run_id)
    started = time.perf_counter()
    loads: dict[str, tuple[int, str]] = {}
    rows = 0
    for report in run.reports():
        loads[report.key] = (report.load.load_id, report.load.state)
        rows += report.load.ledger.read
        yield report
    seconds = time.perf_counter() - started
    finish_plan(connect, plan_id, PlanOutcome(run.meter.calls, rows, seconds, loads))


@dataclass(slots=True)
class _Run:
    connect: Connector
    feed: Feed
    plan: Plan
    access: MarketAccess
    now: datetime
    options: LoadOptions
    may_begin: Callable[[], bool]
    meter: CallMeter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = CallMeter(self.access.throttle)

    def reports(self) -> Iterator[DayReport]:
        yield from self._pass_over()
        for group in self.plan.groups:
            if self.may_begin():
                yield from self._fetch(group)

    def _pass_over(self) -> Iterator[DayReport]:
        """Days that are there: a line in the ledger, and no question."""
        present = {day.day.isoformat(): day for day in self.plan.present_days}
        if not present:
            return
        outcomes = [
            Outcome(Window.of_day(day.day), LoadState.SKIPPED, reason=Why.ALREADY_PRESENT)
            for day in present.values()
        ]
        contract, scope = contract_of(self.feed), scope_of(self.feed)
        for load in load_windows(self.connect, contract, scope, outcomes, self.options):
            stored = present[load.window.key].stored
            rows = stored.rows if stored else 0
            since = f" since {stored.read_at:%Y-%m-%d %H:%M %Z}" if stored else ""
            yield DayReport(
                load,
                message=f"{rows} rows are there{since}; nothing was asked. Set `force` to fetch "
                "the day again.",
                present_rows=rows,
            )

    def _fetch(self, group: PlanGroup) -> Iterator[DayReport]:
        part = None
        if group.is_part and group.symbols is not None:
            part = Part(group.symbols, is_owed=self.plan.symbols is None)
        yield from sync_days(
            self.connect,
            self.feed,
            self._open(group),
            itertools.takewhile(lambda _: self.may_begin(), group.days),
            now=self.now,
            options=replace(self.options, is_part=group.is_part, may_begin=self.may_begin),
            part=part,
            count_calls=lambda: self.meter.calls,
        )

    def _open(self, group: PlanGroup) -> MarketSource:
        return open_feed(
            self.feed,
            self.access.cache_dir,
            secret=self.access.secret,
            question=SymbolQuestion(
                days=group.days,
                symbols=group.symbols if group.is_part else None,
                is_fresh=self.plan.is_forced,
                record=self._record,
            ),
            route=group.route,
            throttle=self.meter,
            sole_use=self.access.sole_use,
        )

    def _record(self, asked: AskedSymbols) -> None:
        """Keep what failed, before a day of it is published: it makes the day partial."""
        failed = asked.failures
        # Symbols that a person chose for one run are not what the feed owes.
        is_owed = self.plan.symbols is None
        settled = [symbol for symbol in asked.symbols if is_owed or symbol not in failed]
        with closing(self.connect()) as conn:
            conn.autocommit = True
            conn.execute(
                read_query("record_asked_symbols"),
                {
                    "source": scope_of(self.feed).name,
                    "first_day": asked.start,
                    "last_day": asked.end,
                    "asked": settled,
                    "is_owed": is_owed,
                    "run_id": self.options.run_id,
                    "symbols": list(failed),
                    "classes": [type(error).__name__ for error in failed.values()],
                    "messages": [str(error) for error in failed.values()],
                    "retryables": [error.retryable for error in failed.values()],
                },
            )
