"""Daily bars: from a feed's days to rows in market.daily_bars.

days -> source.open_day -> window source or outcome -> load_windows -> one report per day
"""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from batch_assets.contracts.batch import Position, SourceBatch
from batch_assets.contracts.table import Scope, TableContract, Window
from batch_assets.contracts.window_checks import Finding
from batch_assets.errors import BatchAssetsError, SourceUnavailable, UnreadableSource
from batch_assets.ingest.market.aliases import AliasedSource
from batch_assets.ingest.market.read_ahead import read_ahead
from batch_assets.loading.dead_letters import count_unmet
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import LoadContext, Outcome
from batch_assets.loading.options import RECOGNISE_WINDOWS, LoadOptions
from batch_assets.loading.prepare import RejectLimit, WindowSource
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.loading.window_checks import read_findings
from batch_assets.settings import LoadingSettings
from batch_assets.sources.market.contract import daily_bars_contract
from batch_assets.sources.market.feed import Feed, VendorFeed
from batch_assets.sources.market.part_checks import (
    FAILED_SYMBOLS,
    FAILED_SYMBOLS_CHECK,
    SUBSET,
    subset_check,
    subset_finding,
)
from batch_assets.sources.market.source import DayInput, DayState, MarketSource
from batch_assets.sources.market.vendors.feed_symbols import is_asked_by_symbol
from batch_assets.sources.market.vendors.vendor_source import VendorDaySource

UNDATED = Window("undated")

_STATES: Mapping[DayState, LoadState] = {
    DayState.SKIPPED: LoadState.SKIPPED,
    DayState.NOT_READY: LoadState.NOT_READY,
    DayState.FAILED: LoadState.FAILED,
    DayState.UNCONFIRMED_EMPTY: LoadState.UNCONFIRMED_EMPTY,
}


@dataclass(frozen=True, slots=True)
class DayReport:
    """What happened to one trade date of a feed.

    Attributes:
        load: Ledger, state and reason.
        message: The same for a person, where the state needs words.
        is_warning: The day was loaded, and a person should look.
        is_retryable: Looking again later can give another answer.
        notes: Values changed without costing their row (rounded), counted by rule.
        calls: Questions the vendor was asked for this day; for all days of the run, where it is
            asked by symbol and this day was the first.
        present_rows: Rows of a day that was passed over because it is there.
    """

    load: LoadReport
    message: str = ""
    is_warning: bool = False
    is_retryable: bool = False
    notes: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    present_rows: int | None = None

    @property
    def key(self) -> str:
        """The partition key, YYYY-MM-DD; `undated` for rows without a readable date."""
        return self.load.window.key


def scope_of(feed: Feed) -> Scope:
    """What all rows of a feed have in common."""
    return Scope((("source", feed.source_name),))


def options_of(
    feed: Feed, loading: LoadingSettings, *, run_id: str | None = None, force: bool = False
) -> LoadOptions:
    """How a feed is loaded: the configuration's bounds, and the feed's own limits."""
    rows, ratio = feed.reject_limit_rows, feed.reject_limit_ratio
    return LoadOptions(
        publish_connections=loading.publish_connections,
        chunk_rows=loading.chunk_rows,
        queue_bytes=loading.queue_bytes,
        lease_seconds=loading.lease_seconds,
        reject_limit=RejectLimit(
            rows=loading.reject_limit_rows if rows is None else rows,
            ratio=loading.reject_limit_ratio if ratio is None else ratio,
        ),
        # A vendor's answer is dear: it is handed over before more are asked for.
        recognise_windows=1 if isinstance(feed, VendorFeed) else RECOGNISE_WINDOWS,
        force=force,
        run_id=run_id,
    )


@dataclass(frozen=True, slots=True)
class Part:
    """The symbols a run fetches, where it does not fetch all of a day.

    Attributes:
        symbols: Canonical.
        is_owed: They are what earlier runs could not fetch, and complete the days; else a person
            chose them, and the days stay partial.
    """

    symbols: tuple[str, ...]
    is_owed: bool


def sync_days(
    connect: Connector,
    feed: Feed,
    source: MarketSource,
    days: Iterable[date],
    *,
    now: datetime,
    options: LoadOptions,
    part: Part | None = None,
    count_calls: Callable[[], int] = lambda: 0,
) -> Iterator[DayReport]:
    """Load trade dates of a feed; each is reported as soon as it is committed.

    Args:
        connect: Opens a connection.
        feed: What is loaded.
        source: Where from; closed at the end.
        days: Trade dates, usually oldest first; read lazily.
        now: The present, aware; decides what is not ready yet.
        options: How; `is_part` must be set where `part` is given.
        part: What of each day the source has; None for all of it.
        count_calls: Questions the vendor was asked so far.

    Yields:
        One report for each day, in the order of commits, and one for rows without a readable
        date if the feed has any.

    Raises:
        DatabaseUnavailable: The database failed; days reported before are committed.
    """
    context = LoadContext(contract_of(feed, part), scope_of(feed), options.run_id)
    # Answers by day do not depend on each other; those by symbol are read from one index.
    is_read_ahead = isinstance(source, VendorDaySource)
    source = AliasedSource(source, connect, feed.source_name)
    opened = _OpenedDays(connect, context, source, now, part, count_calls)

    def items() -> Generator[WindowSource | Outcome, None, None]:
        # Closed where it was asked: in the thread that reads ahead.
        with closing(source):
            for day in days:
                yield opened.open(day)
            yield from _undated(source, now, connect, context)

    found = read_ahead(items()) if is_read_ahead else items()
    for report in load_windows(connect, context.contract, context.scope, found, options):
        key = report.window.key
        described = _describe(report, opened.inputs.pop(key, None))
        yield replace(described, calls=opened.calls.pop(key, 0))


def contract_of(feed: Feed, part: Part | None = None) -> TableContract:
    """What a feed promises, and what makes a day partial when not all symbols were fetched."""
    contract = daily_bars_contract(feed)
    checks = contract.window_checks
    if is_asked_by_symbol(feed):
        # First, because it knows why symbols are missing.
        checks = (FAILED_SYMBOLS_CHECK, *checks)
    if part is not None and not part.is_owed:
        checks = (subset_check(part.symbols), *checks)
    return replace(contract, window_checks=checks)


@dataclass(frozen=True, slots=True)
class _OpenedDays:
    """Days found but not yet reported, and what finding them took."""

    connect: Connector
    context: LoadContext
    source: MarketSource
    now: datetime
    part: Part | None
    count_calls: Callable[[], int]
    inputs: dict[str, DayInput] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    def open(self, day: date) -> WindowSource | Outcome:
        """Ask the source for a day."""
        window = Window.of_day(day)
        calls_before = self.count_calls()
        try:
            found = self.source.open_day(day, now=self.now)
        except BatchAssetsError as error:
            return Outcome(window, LoadState.FAILED, reason=self._reason_of(error), error=error)
        finally:
            self.calls[window.key] = self.count_calls() - calls_before
        self.inputs[window.key] = found
        if found.state is DayState.READY:
            return WindowSource(
                window,
                found.source_file,
                found.source_hash,
                lambda after: _read_after(found, after),
            )
        if found.state is DayState.UNCONFIRMED_EMPTY and self.part is not None:
            return self._without_rows(window, found, self.part)
        is_failed = found.state is DayState.FAILED
        return Outcome(
            window,
            _STATES[found.state],
            reason=str(found.reason),
            source_file=found.source_file,
            source_hash=found.source_hash,
            error=SourceUnavailable(found.message) if is_failed else None,
        )

    def _reason_of(self, error: BatchAssetsError) -> str:
        """Where only some symbols were wanted, the rest of the day is as it was."""
        if self.part is None:
            return type(error).__name__
        return FAILED_SYMBOLS if self.part.is_owed else SUBSET

    def _without_rows(self, window: Window, found: DayInput, part: Part) -> Outcome:
        """No row of the symbols that were fetched: the day is what its other rows make it."""
        if part.is_owed:
            finding = self._finding(window, found.trade_date)
        else:
            finding = subset_finding(part.symbols)
        return Outcome(
            window,
            LoadState.PARTIAL if finding else LoadState.SUCCESS,
            reason=finding.reason if finding else "",
            message=finding.message if finding else "",
            source_file=found.source_file,
            source_hash=found.source_hash,
        )

    def _finding(self, window: Window, day: date) -> Finding | None:
        with closing(self.connect()) as conn:
            row = conn.execute(
                "SELECT count(*) FROM market.daily_bars WHERE source = %s AND trade_date = %s",
                (self.context.scope.name, day),
            ).fetchone()
            rows = int(row[0]) if row else 0
            found = read_findings(conn, self.context, {window.key: rows})
            conn.rollback()
        return next((finding for _, finding in found), None)


def _read_after(found: DayInput, position: Position | None) -> Iterator[SourceBatch]:
    """Batches of a day after those that are already staged.

    A day's files are read from their beginning; only a day with more rows than a chunk is ever
    continued, and its batches are the same again because the source's hash is.
    """
    done = int(position["batches"]) if position else 0
    for number, batch in enumerate(itertools.islice(found.read(), done, None), done + 1):
        yield replace(batch, resume_after={"batches": number})


def _undated(
    source: MarketSource, now: datetime, connect: Connector, context: LoadContext
) -> Iterator[Outcome]:
    """Rows without a readable date: a failure when they come, a warning as long as they stay.

    They belong to no day, so no day can be wrong because of them; once they are dead letters,
    failing every run of the feed again would say nothing new.
    """
    try:
        rejected = source.undated(now=now)
    except BatchAssetsError as failure:
        reason = type(failure).__name__
        yield Outcome(UNDATED, LoadState.FAILED, reason=reason, error=failure)
        return
    if not rejected:
        return
    with connect() as conn:
        unmet = count_unmet(conn, context, UNDATED, rejected)
    seen = (
        f"{len(rejected)} rows have no readable date and belong to no day, expected a date in "
        "each; they are dead letters of the window 'undated'; correct date_format or the files"
    )
    ledger = Ledger(read=len(rejected), rejected=len(rejected))
    yield Outcome(
        UNDATED,
        LoadState.FAILED if unmet else LoadState.SKIPPED,
        reason="unparsable_date" if unmet else "undated_rows_are_known",
        source_file=rejected[0].file,
        ledger=ledger,
        error=UnreadableSource(seen) if unmet else None,
        rejected=rejected,
        message="" if unmet else f"{seen}; none of them is new",
    )


def _describe(report: LoadReport, found: DayInput | None) -> DayReport:
    if report.error is not None:
        message = str(report.error)
        return DayReport(report, message=message, is_retryable=report.error.retryable)
    if report.state is LoadState.PARTIAL:
        return DayReport(
            report,
            message=report.message,
            is_warning=True,
            is_retryable=True,
            notes=dict(found.notes) if found else {},
        )
    if found is None:
        return DayReport(report, message=report.message, is_warning=bool(report.message))
    return DayReport(
        load=report,
        message=found.message,
        is_warning=found.is_warning,
        is_retryable=found.is_retryable or report.state is LoadState.UNCONFIRMED_EMPTY,
        notes=dict(found.notes),
    )
