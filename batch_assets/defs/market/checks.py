"""Checks of daily bars: those that come with each run, and freshness, which has its own pace."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.check_results import as_check_result, metadata_of, severity_of
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.ingest.market import DayReport, scope_of
from batch_assets.loading.report import LoadState
from batch_assets.quality.daily_bars import (
    judge_completeness,
    judge_duplicates,
    judge_error_rate,
    judge_freshness,
    judge_ledger,
)
from batch_assets.sources.market.due import newest_due_session
from batch_assets.sources.market.feed import Feed

LEDGER_BALANCES = "ledger_balances"
ERROR_RATE = "error_rate_within_budget"
COMPLETENESS = "complete_against_previous_session"
NO_DUPLICATES = "no_duplicate_keys"
FRESHNESS = "newest_session_is_stored"


def build_check_specs(asset_key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks evaluated by the asset itself, once for each run over all its days."""
    return [
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
    loaded = [report for report in reports if report.load.state is LoadState.SUCCESS]
    days = [date.fromisoformat(report.key) for report in loaded]
    read = sum(report.load.ledger.read for report in reports)
    rejected = sum(report.load.ledger.rejected for report in reports)
    with closing(postgres.connect()) as conn:
        verdicts = {
            LEDGER_BALANCES: judge_ledger(conn, [report.load.load_id for report in loaded]),
            ERROR_RATE: judge_error_rate(read, rejected),
            COMPLETENESS: judge_completeness(
                conn, scope_of(feed).name, [report.key for report in loaded]
            ),
            NO_DUPLICATES: judge_duplicates(conn, feed.source_name, days),
        }
    for name, verdict in verdicts.items():
        yield as_check_result(name, asset_key, verdict)


def failed_day_evaluation(asset_key: dg.AssetKey, report: DayReport) -> dg.AssetCheckEvaluation:
    """The evaluation that marks one failed day, because the run's own result marks none."""
    ledger = report.load.ledger
    verdict = judge_error_rate(ledger.read, ledger.rejected)
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=ERROR_RATE,
        passed=False,
        severity=dg.AssetCheckSeverity.ERROR,
        blocking=True,
        partition=report.key,
        description=report.message,
        metadata={**metadata_of(verdict), "reason": report.load.reason},
    )


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
        postgres: PostgresCopyResource, clock: ClockResource
    ) -> dg.AssetCheckResult:
        expected = newest_due_session(feed, clock.now(), cache_dir)
        with closing(postgres.connect()) as conn:
            verdict = judge_freshness(conn, feed.source_name, expected)
        return dg.AssetCheckResult(
            passed=verdict.is_kept,
            severity=severity_of(verdict),
            description=f"{verdict.observed}; expected {verdict.expected}",
            metadata=metadata_of(verdict),
        )

    return newest_session_is_stored
