"""What a vendor says beside bars as assets: instruments, suspensions, adjustment factors."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date
from typing import Any

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.pools import pool_of
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.market.assets import FEED_TAG, cache_dir_of
from batch_assets.defs.market.metadata import metadata_of, summary_of
from batch_assets.defs.market.reference_keys import (
    FACTORS,
    INSTRUMENTS,
    SUSPENSIONS,
    reference_key,
    reference_names,
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
from batch_assets.sources.market.feed import Feed, VendorFeed
from batch_assets.sources.market.vendors.vendor import Unthrottled, VendorAccess

EVERY_DAY_IS_READ = "every_day_is_read"
NO_FACTOR_MISSING = "no_factor_is_missing"
UNIVERSE_IS_KNOWN = "universe_is_known"

_STORED = (LoadState.SUCCESS, LoadState.PARTIAL, LoadState.SKIPPED)

SyncDays = Callable[[ReferenceInput, Iterable[date]], Iterator[DayReport]]


def build_reference_assets(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetsDefinition]:
    """The lists that a feed's vendor can give; none for a feed of files."""
    if not isinstance(feed, VendorFeed):
        return []
    build = {
        INSTRUMENTS: lambda: _build_instruments(feed, settings),
        SUSPENSIONS: lambda: _build_days(
            feed, settings, partitions, SUSPENSIONS, sync_vendor_suspensions
        ),
        FACTORS: lambda: _build_days(feed, settings, partitions, FACTORS, sync_vendor_factors),
    }
    return [build[name]() for name in reference_names(feed)]


def _build_instruments(feed: VendorFeed, settings: Settings) -> dg.AssetsDefinition:
    key = reference_key(feed, INSTRUMENTS)

    @dg.asset(
        key=key,
        check_specs=[
            dg.AssetCheckSpec(
                UNIVERSE_IS_KNOWN,
                asset=key,
                blocking=True,
                description="The vendor lists symbols with the dates of their listing: a day of "
                "bars is complete when it has those that are listed and not suspended.",
            )
        ],
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed, INSTRUMENTS),
        description=_DESCRIPTIONS[INSTRUMENTS].format(source=feed.source_name),
    )
    def instruments(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        with translating_failures(context.op_execution_context.retry_number):
            given = _input(context, feed, settings, postgres, clock)
            report = sync_vendor_instruments(given)
            _fail_if_any([report])
            with closing(postgres.connect()) as conn:
                verdict = judge_universe(conn, feed.source_name, clock.now().date())
        yield dg.MaterializeResult(
            metadata=metadata_of(report),
            check_results=[as_check_result(UNIVERSE_IS_KNOWN, key, verdict)],
        )

    return instruments


def _build_days(
    feed: VendorFeed,
    settings: Settings,
    partitions: dg.PartitionsDefinition[str],
    name: str,
    sync: SyncDays,
) -> dg.AssetsDefinition:
    key = reference_key(feed, name)

    @dg.asset(
        key=key,
        partitions_def=partitions,
        # Beta in 1.13. One run for each day would cost 10 s a day.
        backfill_policy=dg.BackfillPolicy.multi_run(feed.max_partitions_per_run),
        check_specs=_check_specs(key, name),
        # Each day that was read logs its own materialisation.
        output_required=False,
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed, name),
        description=_DESCRIPTIONS[name].format(source=feed.source_name),
    )
    def read_days(
        context: dg.AssetExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.AssetCheckResult]:
        with translating_failures(context.op_execution_context.retry_number):
            given = _input(context, feed, settings, postgres, clock)
            days = [date.fromisoformat(text) for text in context.partition_keys]
            reports = [_log_day(context, key, report) for report in sync(given, days)]
        yield from _evaluate(key, name, reports)
        _fail_if_any(reports)

    return read_days


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


def _check_specs(key: dg.AssetKey, name: str) -> list[dg.AssetCheckSpec]:
    specs = [
        dg.AssetCheckSpec(
            EVERY_DAY_IS_READ,
            asset=key,
            blocking=True,
            description="Each day of the run was read, or has no session, or is not over yet. An "
            "empty list on a session is no success.",
        )
    ]
    if name == FACTORS:
        specs.append(
            dg.AssetCheckSpec(
                NO_FACTOR_MISSING,
                asset=key,
                blocking=True,
                description="Every symbol that trades has a factor. Prices adjusted without it "
                "would jump on the day of a dividend.",
            )
        )
    return specs


_DESCRIPTIONS = {
    INSTRUMENTS: "Symbols with their dates of listing and delisting in `market.instruments`, "
    "`source = '{source}'`: what a day of bars must have to be complete.",
    SUSPENSIONS: "Symbols that did not trade on a day in `market.suspensions`, "
    "`source = '{source}'`: a suspended symbol is not missing from its day.",
    FACTORS: "Changes of the cumulative adjustment factors in `market.adjustment_factors`, "
    "`source = '{source}'`. A late factor is reported and never guessed.",
}


def _static_metadata(feed: VendorFeed, name: str) -> dict[str, Any]:
    return {"table": f"market.{name}", "source": feed.source_name, **feed.facts}
