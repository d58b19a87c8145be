"""One run of daily bars: plan, load, tell Dagster day by day, judge, fail if a day did."""

from collections.abc import Iterator
from datetime import date
from typing import TypeVar

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, open_step_log
from batch_assets.defs.market.assets import PLAN_TAG, SyncConfig, asset_key_of, cache_dir_of
from batch_assets.defs.market.evaluate import evaluate_run, failed_day_evaluation
from batch_assets.defs.market.metadata import metadata_of, plan_text, summary_of
from batch_assets.execution.failpoints import reach
from batch_assets.ingest.market.daily_bars import DayReport, options_of
from batch_assets.ingest.market.plan import PlanRequest, plan_sync
from batch_assets.ingest.market.run import MarketAccess, sync_plan
from batch_assets.ingest.market.vendor_lease import sole_use_of
from batch_assets.ingest.market.vendor_limits import throttle_of
from batch_assets.loading.report import LoadState
from batch_assets.runs.backfill_gate import BackfillGate, open_gate
from batch_assets.runs.run_log import RunLog
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.part_checks import SUBSET
from batch_assets.sources.market.plan import Plan

# Failed days spelled out in the step's failure; each has its own check evaluation and ledger row.
_LISTED_FAILURES = 10

_Event = TypeVar("_Event", dg.AssetMaterialization, dg.AssetObservation)


def run_sync(
    context: dg.AssetExecutionContext,
    feed: Feed,
    settings: Settings,
    config: SyncConfig,
    *,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> Iterator[dg.AssetCheckResult]:
    """Load the days of a run that are missing or have changed.

    Raises:
        Failure: A day failed; the others are committed and materialised.
        RetryRequested: Something that time can mend stood in the way.
    """
    asset_key = asset_key_of(feed)
    with (
        translating_failures(context.op_execution_context.retry_number),
        open_step_log(
            settings, postgres.connect, context, zone_name=feed.zone_name, feed=feed.name
        ) as log,
    ):
        now, cache_dir = clock.now(), cache_dir_of(settings)
        plan = plan_sync(
            postgres.connect,
            feed,
            PlanRequest(
                [date.fromisoformat(key) for key in context.partition_keys],
                tuple(config.symbols),
                config.force,
            ),
            now=now,
            cache_dir=cache_dir,
        )
        _show_plan(context, log, plan)
        run_id = context.run.run_id
        gate = open_gate(postgres.connect, run_id, feed.name, context.run.tags)
        reports = sync_plan(
            postgres.connect,
            feed,
            plan,
            _access_of(feed, settings, postgres, run_id),
            now=now,
            options=options_of(feed, settings.loading, run_id=run_id, force=config.force),
            may_begin=gate.may_begin,
        )
        seen = [
            _log_day(context, asset_key, _write_line(log, settings, report)) for report in reports
        ]
        yield from evaluate_run(postgres, feed, asset_key, seen, now=now, cache_dir=cache_dir)
    _fail_if_any(seen)
    _stop_if_held(context, gate, seen)


def _access_of(
    feed: Feed, settings: Settings, postgres: PostgresCopyResource, run_id: str
) -> MarketAccess:
    lease_seconds = settings.loading.lease_seconds
    return MarketAccess(
        cache_dir_of(settings),
        settings.secret,
        throttle_of(feed, postgres.connect),
        sole_use_of(feed, postgres.connect, run_id=run_id, lease_seconds=lease_seconds),
    )


def _show_plan(context: dg.AssetExecutionContext, log: RunLog, plan: Plan) -> None:
    """Say what the run will do: in its log, and as a tag in the list of runs."""
    text = plan_text(plan)
    context.log.info("plan: %s", text)
    log.write("run_started", text)
    context.instance.add_run_tags(context.run.run_id, {PLAN_TAG: text})


def _write_line(log: RunLog, settings: Settings, report: DayReport) -> DayReport:
    """Write the line of one day into the run's log, as soon as it is committed."""
    is_loaded = report.load.state in (LoadState.SUCCESS, LoadState.PARTIAL)
    text = summary_of(report) if is_loaded else report.message or summary_of(report)
    log_load(log, settings, report.key, report.load, text, is_warning=report.is_warning)
    return report


def _log_day(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, report: DayReport
) -> DayReport:
    """Tell Dagster about one day as soon as it is committed.

    Loaded and skipped days are materialised. The others are only observed, so that their pages
    say why: a failed one also gets a failed check evaluation, and a day that is not ready, or
    empty without confirmation, stays unmaterialised, to be asked for again.
    """
    reach("run.before_event")
    state = report.load.state
    if report.load.reason == SUBSET and state is LoadState.PARTIAL:
        # Some symbols are no day: a day that was complete stays so, another stays missing.
        context.log_event(_event_of(dg.AssetObservation, asset_key, report))
        context.log.info("%s: %s", report.key, report.message)
        return report
    if state is LoadState.SKIPPED and report.key not in context.partition_keys:
        # Rows that belong to no day, and are known.
        context.log.warning("%s: %s", report.key, report.message)
        return report
    if state in (LoadState.SUCCESS, LoadState.PARTIAL, LoadState.SKIPPED):
        context.log_event(_event_of(dg.AssetMaterialization, asset_key, report))
        if report.is_warning:
            context.log.warning("%s: %s", report.key, report.message)
        return report
    if report.key in context.partition_keys:
        context.log_event(_event_of(dg.AssetObservation, asset_key, report))
    if state is not LoadState.FAILED:
        context.log.warning("%s is %s: %s", report.key, state, report.message)
        return report
    context.log.error("%s failed: %s", report.key, report.message)
    if report.key in context.partition_keys:
        context.log_event(failed_day_evaluation(asset_key, report))
    return report


def _event_of(kind: type[_Event], asset_key: dg.AssetKey, report: DayReport) -> _Event:
    return kind(
        asset_key=asset_key,
        partition=report.key,
        metadata=metadata_of(report),
        description=summary_of(report),
    )


def _fail_if_any(reports: list[DayReport]) -> None:
    """Fail the step if a day failed; the good days are committed and materialised already."""
    failed = [report for report in reports if report.load.state is LoadState.FAILED]
    failed.sort(key=lambda report: report.key)
    if not failed:
        return
    lines = [_failure_line(report) for report in failed[:_LISTED_FAILURES]]
    if len(failed) > _LISTED_FAILURES:
        lines.append(f"and {len(failed) - _LISTED_FAILURES} more; see ops.loads")
    raise dg.Failure(
        description=f"{len(failed)} of {len(reports)} days failed; the others are loaded.\n"
        + "\n".join(lines),
        metadata={"failed_days": ", ".join(report.key for report in failed)},
        # The days that failed would fail again at once; relaunch them when the cause is mended.
        allow_retries=False,
    )


def _stop_if_held(
    context: dg.AssetExecutionContext, gate: BackfillGate, reports: list[DayReport]
) -> None:
    """End the run as canceled where a pause kept days of it from being begun."""
    if not gate.is_closed:
        return
    rest = len(set(context.partition_keys) - {report.key for report in reports})
    if not rest:
        return
    # Dagster calls an interrupted run failed, and would start it again, unless it was told before.
    context.instance.report_run_canceling(
        context.run,
        message=f"Paused or canceled: {rest} of {len(context.partition_keys)} days were not begun; "
        "`batch-assets resume` goes on with them.",
    )
    raise dg.DagsterExecutionInterruptedError


def _failure_line(report: DayReport) -> str:
    """The message of a failed day, which often begins with the day itself."""
    message = report.message
    return message if message.startswith(f"{report.key}:") else f"{report.key}: {message}"
