"""One asset for each market feed: `market/<feed>/daily_bars`."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from pydantic import Field

from batch_assets.defs.common.pools import pool_of
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, open_step_log
from batch_assets.defs.market.checks import build_check_specs, evaluate_run, failed_day_evaluation
from batch_assets.defs.market.metadata import metadata_of, plan_text, summary_of
from batch_assets.defs.market.reference_keys import deps_of_bars
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

FEED_TAG = "batch_assets/feed"
PLAN_TAG = "batch_assets/plan"

# Failed days spelled out in the step's failure; each has its own check evaluation and ledger row.
_LISTED_FAILURES = 10

_Event = TypeVar("_Event", dg.AssetMaterialization, dg.AssetObservation)


class SyncConfig(dg.Config):
    """What a person may set when launching a run."""

    force: bool = False
    """Fetch days that are there too, and compare row by row, whatever earlier loads say."""

    symbols: list[str] = Field(default_factory=list)
    """Fetch these symbols alone (`600000.SH`); their days stay incomplete. None named: all."""


def asset_key_of(feed: Feed) -> dg.AssetKey:
    """`market/<feed>/daily_bars`."""
    return dg.AssetKey(["market", feed.name, "daily_bars"])


def cache_dir_of(settings: Settings) -> Path:
    """Where calendars and folder indexes are kept."""
    return settings.state_dir / "cache"


def build_daily_bars(
    feed: Feed, settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.AssetsDefinition:
    """The asset of one feed."""
    asset_key = asset_key_of(feed)

    @dg.asset(
        key=asset_key,
        partitions_def=partitions,
        deps=deps_of_bars(feed),
        # Beta in 1.13. A range runs in few runs: one run for each day would cost 10 s a day.
        backfill_policy=_backfill_policy(feed),
        check_specs=build_check_specs(asset_key),
        # Each good day logs its own materialisation; a returned result would mark every day.
        output_required=False,
        pool=pool_of(feed),
        group_name="market",
        owners=["team:data"],
        kinds={"postgres", "python"},
        tags={FEED_TAG: feed.name},
        op_tags={FEED_TAG: feed.name},
        metadata=_static_metadata(feed),
        description=_describe(feed),
    )
    def daily_bars(
        context: dg.AssetExecutionContext,
        config: SyncConfig,
        postgres: PostgresCopyResource,
        clock: ClockResource,
    ) -> Iterator[dg.AssetCheckResult]:
        run_id = context.run.run_id
        with (
            translating_failures(context.op_execution_context.retry_number),
            open_step_log(
                settings,
                postgres.connect,
                context,
                zone_name=feed.zone_name,
                feed=feed.name,
            ) as log,
        ):
            days = [date.fromisoformat(key) for key in context.partition_keys]
            now, cache_dir = clock.now(), cache_dir_of(settings)
            plan = plan_sync(
                postgres.connect,
                feed,
                PlanRequest(days, tuple(config.symbols), config.force),
                now=now,
                cache_dir=cache_dir,
            )
            _show_plan(context, log, plan)
            gate = open_gate(postgres.connect, run_id, feed.name, context.run.tags)
            lease_seconds = settings.loading.lease_seconds
            reports = sync_plan(
                postgres.connect,
                feed,
                plan,
                MarketAccess(
                    cache_dir,
                    settings.secret,
                    throttle_of(feed, postgres.connect),
                    sole_use_of(feed, postgres.connect, run_id=run_id, lease_seconds=lease_seconds),
                ),
                now=now,
                options=options_of(feed, settings.loading, run_id=run_id, force=config.force),
                may_begin=gate.may_begin,
            )
            seen = [
                _log_day(context, asset_key, _write_line(log, settings, report))
                for report in reports
            ]
            yield from evaluate_run(
                postgres,
                feed,
                asset_key,
                seen,
                now=now,
                cache_dir=cache_dir,
            )
        _fail_if_any(seen)
        _stop_if_held(context, gate, seen)

    return daily_bars


def _backfill_policy(feed: Feed) -> dg.BackfillPolicy:
    """Few runs, or one where a vendor is asked once a symbol for the whole range."""
    if feed.max_days_per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(feed.max_days_per_run)


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


def _static_metadata(feed: Feed) -> dict[str, Any]:
    return {
        "table": "market.daily_bars",
        "source": feed.source_name,
        **feed.facts,
        "prices": str(feed.prices),
        "calendar": feed.calendar,
        "time_zone": feed.zone_name,
    }


def _describe(feed: Feed) -> str:
    return (
        f"Daily bars of feed `{feed.name}`: one row per symbol and trade date in "
        f"`market.daily_bars`, `source = '{feed.source_name}'`, {feed.prices} prices in the "
        f"listing's currency, volume in shares or units.\n\n"
        f"A partition is the exchange's trade date ({feed.calendar}, {feed.zone_name}). A day "
        "without a session is materialised as skipped; a day whose rows are not due yet stays "
        "unmaterialised. Why a day failed, or is not ready, is under Events and in the check "
        "`every_day_is_loaded`. Rows that were not loaded are in `ops.dead_letters`, what became "
        "of every row is in `ops.loads`."
    )
