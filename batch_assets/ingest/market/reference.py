"""What a vendor says beside bars: from its answers to rows of the reference tables.

day -> vendor's list -> typed table -> sync_instruments, sync_suspensions, sync_factors -> report

Days are judged by the calendar first; a vendor is never asked for a day without a session. How a
list is stored is decided in instruments.py, what a cell means in vendors/reference_tables.py.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from batch_assets.contracts.table import TableContract, Window
from batch_assets.errors import BatchAssetsError, ConfigurationError
from batch_assets.ingest.market.daily_bars import DayReport
from batch_assets.ingest.market.factors import sync_factors_of_day
from batch_assets.ingest.market.instruments import (
    scope_of_source,
    sync_instruments,
    sync_suspensions,
)
from batch_assets.loading.leases import Connector
from batch_assets.loading.load import load_windows
from batch_assets.loading.loads import Outcome
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.sources.market.calendar import open_calendar
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.reference import ADJUSTMENT_FACTORS, SUSPENSIONS
from batch_assets.sources.market.vendors.reference_tables import (
    factors_table,
    instruments_table,
    suspensions_table,
)
from batch_assets.sources.market.vendors.registry import kind_of
from batch_assets.sources.market.vendors.vendor import (
    GivesFactors,
    ListsInstruments,
    ListsSuspensions,
    Vendor,
    VendorAccess,
)
from batch_assets.sources.market.vendors.vendor_source import Gate

ReadDay = Callable[[date], DayReport]


@dataclass(frozen=True, slots=True)
class ReferenceInput:
    """Whose lists are read, and into which database.

    Attributes:
        connect: Opens a connection.
        feed: The vendor's feed; its `source` owns the rows.
        access: Tokens, limits, and the one connection of a vendor that has one.
        cache_dir: Folder of computed calendars.
        now: The present, aware.
        options: How rows are loaded.
    """

    connect: Connector
    feed: VendorFeed
    access: VendorAccess
    cache_dir: Path
    now: datetime
    options: LoadOptions


def sync_vendor_instruments(given: ReferenceInput) -> DayReport:
    """Store what the vendor lists now; its dates of listing decide when a day is complete.

    Raises:
        BatchAssetsError: The vendor did not answer, or not as its documentation says.
    """
    vendor = _open(given)
    if not isinstance(vendor, ListsInstruments):
        raise _cannot(given, "universe")
    today = given.now.date()
    with closing(vendor), closing(given.access.throttle):
        fetched = vendor.fetch_instruments(today)
    rows = instruments_table(given.feed, fetched)
    report = sync_instruments(
        given.connect,
        given.feed.source_name,
        rows,
        origin=fetched.label,
        options=given.options,
    )
    return _described(report, f"{fetched.label} has no row; expected what is listed")


def sync_vendor_suspensions(given: ReferenceInput, days: Iterable[date]) -> Iterator[DayReport]:
    """Store the whole list of each day's suspended symbols; each is reported when it is stored."""
    vendor = _open(given)
    if not isinstance(vendor, ListsSuspensions):
        raise _cannot(given, "suspensions")

    def read(day: date) -> DayReport:
        fetched = vendor.fetch_suspensions(day)
        report = sync_suspensions(
            given.connect,
            given.feed.source_name,
            day,
            suspensions_table(given.feed, fetched),
            origin=fetched.label,
            options=given.options,
        )
        return _described(
            report,
            f"{fetched.label} names no suspended symbol; that can be right, and nobody says so; "
            "what was stored for the day stays",
        )

    yield from _by_day(given, vendor, SUSPENSIONS, days, read)


def sync_vendor_factors(given: ReferenceInput, days: Iterable[date]) -> Iterator[DayReport]:
    """Store the changes of the adjustment factors of each day; a late factor is reported."""
    vendor = _open(given)
    if not isinstance(vendor, GivesFactors):
        raise _cannot(given, "factors")
    gives_changes = "ex_date" in kind_of(given.feed.vendor).factors

    def read(day: date) -> DayReport:
        fetched = vendor.fetch_factors(day)
        return sync_factors_of_day(
            given.connect,
            given.feed.source_name,
            day,
            factors_table(given.feed, fetched),
            gives_changes=gives_changes,
            origin=fetched.label,
            options=given.options,
        )

    yield from _by_day(given, vendor, ADJUSTMENT_FACTORS, days, read)


def _open(given: ReferenceInput) -> Vendor:
    return kind_of(given.feed.vendor).open(given.feed, given.access)


def _cannot(given: ReferenceInput, capability: str) -> ConfigurationError:
    return ConfigurationError(
        f"vendor {given.feed.vendor} of feed {given.feed.name} does not answer {capability!r}, "
        "expected a vendor that does; docs/add-a-vendor.md lists what each can answer"
    )


def _by_day(
    given: ReferenceInput,
    vendor: Vendor,
    contract: TableContract,
    days: Iterable[date],
    read: ReadDay,
) -> Iterator[DayReport]:
    gate = Gate(given.feed)
    with closing(vendor), closing(given.access.throttle):
        for day in days:
            outcome = _judge(given, day)
            if outcome is not None:
                yield _record(given, contract, outcome)
                continue
            try:
                yield gate.ask(lambda day=day: read(day))  # type: ignore[misc]  # reason: a default argument
            except BatchAssetsError as error:
                failed = Outcome(
                    Window.of_day(day), LoadState.FAILED, reason=type(error).__name__, error=error
                )
                yield _record(given, contract, failed)


def _judge(given: ReferenceInput, day: date) -> Outcome | None:
    """Why a day is not asked for; None if it is."""
    feed, window = given.feed, Window.of_day(day)
    calendar = open_calendar(
        feed.calendar_name,
        given.cache_dir,
        today=given.now.date(),
        user_file=feed.calendar_file,
    )
    if calendar.is_session(day) is False:
        message = f"{day} is not a session of {calendar.name}; nothing is expected."
        return Outcome(window, LoadState.SKIPPED, reason="not_a_session", message=message)
    if given.now < feed.closes_on(day):
        closes_at = feed.closes_on(day).isoformat(timespec="minutes")
        message = f"The session of {day} ends at {closes_at}; run the partition again after that."
        return Outcome(window, LoadState.NOT_READY, reason="before_close", message=message)
    return None


def _record(given: ReferenceInput, contract: TableContract, outcome: Outcome) -> DayReport:
    scope = scope_of_source(given.feed.source_name)
    [report] = load_windows(given.connect, contract, scope, [outcome], given.options)
    if report.error is not None:
        return DayReport(report, str(report.error), is_retryable=report.error.retryable)
    return DayReport(report, report.message, is_retryable=report.state is LoadState.NOT_READY)


def _described(report: LoadReport, if_empty: str) -> DayReport:
    if report.error is not None:
        return DayReport(report, str(report.error), is_retryable=report.error.retryable)
    if report.state is LoadState.UNCONFIRMED_EMPTY:
        return DayReport(report, if_empty, is_warning=True, is_retryable=True)
    return DayReport(report, report.message)
