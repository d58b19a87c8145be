"""One run of what a vendor says beside bars: instruments, or a list for each of some days."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from typing import Any

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.market.assets import cache_dir_of
from batch_assets.defs.market.metadata import metadata_of, summary_of
from batch_assets.defs.market.reference import (
    EVERY_DAY_IS_READ,
    NO_FACTOR_MISSING,
    UNIVERSE_IS_KNOWN,
)
from batch_assets.defs.market.reference_keys import (
    FACTORS,
    INSTRUMENTS,
    SUSPENSIONS,
    reference_key,
)
from batch_assets.ingest.market.daily_bars import DayReport, options_of
from batch_assets.ingest.market.reference import (
    ReferenceInput,
    sync_vendor_factors,
    sync_vendor_instruments,
    sync_vendor_suspensions,
)
from batch_assets.ingest.market.vendor_lease import sole_use_of
from batch_assets.ingest.market.vendor_limits import throttle_of
from batch_assets.loading.report import LoadState
from batch_assets.quality.daily_bars import judge_days
from batch_assets.quality.factors import judge_missing_factors, judge_universe
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.vendor import Unthrottled, VendorAccess

_STORED = (LoadState.SUCCESS, LoadState.PARTIAL, LoadState.SKIPPED)

SyncDays = Callable[[ReferenceInput, Iterable[date]], Iterator[DayReport]]

_SYNC: dict[str, SyncDays] = {
    SUSPENSIONS: sync_vendor_suspensions,
    FACTORS: sync_vendor_factors,
}


def list_instruments(
    context: dg.AssetExecutionContext,
    feed: VendorFeed,
    settings: Settings,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Store the vendor's list of symbols, and judge whether it says what is complete.

    Raises:
        Failure: The list was not stored.
    """
    with translating_failures(context.op_execution_context.retry_number):
        given = _input(context, feed, settings, postgres, clock)
        report = sync_vendor_instruments(given)
        _fail_if_any([report])
        with closing(postgres.connect()) as conn:
            verdict = judge_universe(conn, feed.source_name, clock.now().date())
    key = reference_key(feed, INSTRUMENTS)
    yield dg.MaterializeResult(
        metadata=metadata_of(report),
        check_results=[as_check_result(UNIVERSE_IS_KNOWN, key, verdict)],
    )


def sync_days(
    context: dg.AssetExecutionContext,
    feed: VendorFeed,
    settings: Settings,
    name: str,
    *,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> Iterator[dg.AssetCheckResult]:
    """Store one of the vendor's lists for each day of a run.

    Args:
        name: SUSPENSIONS or FACTORS.

    Raises:
        Failure: A day failed; the others are committed and materialised.
    """
    key = reference_key(feed, name)
    with translating_failures(context.op_execution_context.retry_number):
        given = _input(context, feed, settings, postgres, clock)
        days = [date.fromisoformat(text) for text in context.partition_keys]
        reports = [_log_day(context, key, report) for report in _SYNC[name](given, days)]
    yield from _evaluate(key, name, reports)
    _fail_if_any(reports)


def _input(
    context: dg.AssetExecutionContext,
    feed: VendorFeed,
    settings: Settings,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> ReferenceInput:
    cache_dir, run_id = cache_dir_of(settings), context.run.run_id
    access = VendorAccess(
        settings.secret,
        cache_dir / "locks",
        throttle_of(feed, postgres.connect) or Unthrottled(),
        sole_use_of(
            feed, postgres.connect, run_id=run_id, lease_seconds=settings.loading.lease_seconds
        ),
    )
    options = options_of(feed, settings.loading, run_id=run_id)
    return ReferenceInput(postgres.connect, feed, access, cache_dir, clock.now(), options)


def _log_day(context: dg.AssetExecutionContext, key: dg.AssetKey, report: DayReport) -> DayReport:
    """Tell Dagster about one day: materialised if it was read or has no session, else observed."""
    is_stored = report.load.state in _STORED
    event = dg.AssetMaterialization if is_stored else dg.AssetObservation
    context.log_event(
        event(
            asset_key=key,
            partition=report.key,
            metadata=metadata_of(report),
            description=summary_of(report),
        )
    )
    if report.message and report.load.state is not LoadState.SKIPPED:
        context.log.warning("%s is %s: %s", report.key, report.load.state, report.message)
    return report


def _evaluate(
    key: dg.AssetKey, name: str, reports: Sequence[DayReport]
) -> Iterator[dg.AssetCheckResult]:
    def keys(*states: LoadState) -> list[str]:
        return sorted(report.key for report in reports if report.load.state in states)

    verdict = judge_days(
        len(reports),
        failed=keys(LoadState.FAILED),
        unconfirmed=keys(LoadState.UNCONFIRMED_EMPTY),
        not_ready=keys(LoadState.NOT_READY),
    )
    yield as_check_result(EVERY_DAY_IS_READ, key, verdict)
    if name == FACTORS:
        few = [r.message for r in reports if r.load.state is LoadState.SUCCESS and r.message]
        partial = [r.message for r in reports if r.load.state is LoadState.PARTIAL]
        missing = judge_missing_factors(len(reports), partial, few)
        yield as_check_result(NO_FACTOR_MISSING, key, missing)


def _fail_if_any(reports: Sequence[DayReport]) -> None:
    failed = [report for report in reports if report.load.state is LoadState.FAILED]
    if failed:
        lines = [f"{report.key}: {report.message}" for report in failed]
        raise dg.Failure(
            description=f"{len(failed)} of {len(reports)} lists were not stored.\n"
            + "\n".join(dict.fromkeys(lines)),
            allow_retries=False,
        )
