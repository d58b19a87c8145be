"""Checks of daily bars: those that come with each run, and freshness, which has its own pace."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.market.metadata import metadata_of as metadata_of_day
from batch_assets.ingest.market import DayReport, scope_of
from batch_assets.loading.report import LoadState
from batch_assets.quality.daily_bars import (
    judge_completeness,
    judge_days,
    judge_duplicates,
    judge_error_rate,
    judge_freshness,
    judge_ledger,
)
from batch_assets.sources.market.due import newest_due_session
from batch_assets.sources.market.feed import Feed

EVERY_DAY_IS_LOADED = "every_day_is_loaded"
LEDGER_BALANCES = "ledger_balances"
ERROR_RATE = "error_rate_within_budget"
COMPLETENESS = "complete_against_previous_session"
NO_DUPLICATES = "no_duplicate_keys"
FRESHNESS = "newest_session_is_stored"


def build_check_specs(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the asset itself, once for each run over all its days."""
    return [
        dg.AssetCheckSpec(
            EVERY_DAY_IS_LOADED,
            asset=asset_key,
            blocking=True,
            description="Each day of the run was loaded, or is known to have no session, or is "
            "not due yet. A day that failed has an evaluation of its own, with the reason.",
        ),
        dg.AssetCheckSpec(
            LEDGER_BALANCES,
            asset=asset_key,
            blocking=True,
            description="Every row read is inserted, updated, unchanged, duplicate, rejected or "
            "skipped, and the table holds what the ledger says. Gates what is downstream.",
        ),
        dg.AssetCheckSpec(
            ERROR_RATE,
            asset=asset_key,
            blocking=True,
            description="Rejected rows stay within the budget: a warning above 5 %, an error "
            "above 10 %.",
        ),
        dg.AssetCheckSpec(
            COMPLETENESS,
            asset=asset_key,
            description="No day lost more than 0.5 % or 20 of the previous day's symbols.",
        ),
        dg.AssetCheckSpec(
            NO_DUPLICATES,
            asset=asset_key,
            blocking=True,
            description="No symbol has two bars on one day.",
        ),
    ]


def evaluate_run(
    postgres: PostgresCopyResource,
    feed: Feed,
    asset_key: dg.AssetKey,
    reports: Sequence[DayReport],
) -> Iterator[dg.AssetCheckResult]:
    """Judge the days of one run by what is stored now."""
    stored = (LoadState.SUCCESS, LoadState.PARTIAL)
    loaded = [report for report in reports if report.load.state in stored]
    keys = [report.key for report in loaded]
    read = sum(report.load.ledger.read for report in reports)
    rejected = sum(report.load.ledger.rejected for report in reports)
    source = feed.source_name
    with closing(postgres.connect()) as conn:
        verdicts = {
            EVERY_DAY_IS_LOADED: judge_days(
                len(reports),
                failed=_keys_in(reports, LoadState.FAILED),
                unconfirmed=_keys_in(reports, LoadState.UNCONFIRMED_EMPTY),
                not_ready=_keys_in(reports, LoadState.NOT_READY),
            ),
            LEDGER_BALANCES: judge_ledger(conn, source, [r.load.load_id for r in loaded]),
            ERROR_RATE: judge_error_rate(read, rejected),
            COMPLETENESS: judge_completeness(conn, scope_of(feed).name, keys),
            NO_DUPLICATES: judge_duplicates(conn, source, [date.fromisoformat(k) for k in keys]),
        }
    for name, verdict in verdicts.items():
        yield as_check_result(name, asset_key, verdict)


def failed_day_evaluation(asset_key: dg.AssetKey, report: DayReport) -> dg.AssetCheckEvaluation:
    """The evaluation that marks one failed day, because the run's own result marks none."""
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=EVERY_DAY_IS_LOADED,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        blocking=True,
        partition=report.key,
        description=report.message,
        metadata=metadata_of_day(report),
    )


def _keys_in(reports: Sequence[DayReport], state: LoadState) -> list[str]:
    return [report.key for report in reports if report.load.state is state]


def build_freshness_check(
    feed: Feed, asset_key: dg.AssetKey, cache_dir: Path
) -> dg.AssetChecksDefinition:
    """Whether the newest session that is due is stored; runs with the feed's freshness job."""

    @dg.asset_check(
        asset=asset_key,
        name=FRESHNESS,
        description="The newest session whose file is due is in the table.",
    )
    def newest_session_is_stored(
        context: dg.AssetCheckExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> dg.AssetCheckResult:
        with (
            translating_failures(context.op_execution_context.retry_number),
            closing(postgres.connect()) as conn,
        ):
            expected = newest_due_session(feed, clock.now(), cache_dir)
            verdict = judge_freshness(conn, feed.source_name, expected)
        return as_check_result(FRESHNESS, asset_key, verdict)

    return newest_session_is_stored
