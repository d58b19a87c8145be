"""Verdicts on daily bars: of each run, and on freshness also when nothing ran."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.check_results import (
    as_check_result,
    description_of,
    metadata_of,
    severity_of,
)
from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.market.checks import (
    COMPLETENESS,
    ERROR_RATE,
    EVERY_DAY_IS_LOADED,
    FRESHNESS,
    LEDGER_BALANCES,
    NO_COPIES,
    NO_DUPLICATES,
    VOLUME,
)
from batch_assets.defs.market.metadata import metadata_of as metadata_of_day
from batch_assets.ingest.market.daily_bars import UNDATED, DayReport, scope_of
from batch_assets.loading.report import LoadState
from batch_assets.quality.completeness import judge_completeness, judge_copies
from batch_assets.quality.daily_bars import (
    judge_days,
    judge_duplicates,
    judge_error_rate,
    judge_freshness,
    judge_ledger,
    judge_volume,
)
from batch_assets.sources.market.due import newest_due_session
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.part_checks import SUBSET


def evaluate_run(
    postgres: PostgresCopyResource,
    feed: Feed,
    asset_key: dg.AssetKey,
    reports: Sequence[DayReport],
    *,
    now: datetime,
    cache_dir: Path,
) -> Iterator[dg.AssetCheckResult]:
    """Judge the days of one run, and the table's newest day, by what is stored now."""
    stored = (LoadState.SUCCESS, LoadState.PARTIAL)
    loaded = [report for report in reports if report.load.state in stored]
    keys = [report.key for report in loaded]
    # Rows without a date are of the whole folder, and say nothing about the days of this run.
    of_days = [report.load.ledger for report in reports if report.key != UNDATED.key]
    read = sum(ledger.read for ledger in of_days)
    rejected = sum(ledger.rejected for ledger in of_days)
    source, days = feed.source_name, [date.fromisoformat(key) for key in keys]
    with closing(postgres.connect()) as conn:
        verdicts = {
            EVERY_DAY_IS_LOADED: judge_days(
                len(reports),
                failed=_keys_in(reports, LoadState.FAILED),
                unconfirmed=_keys_in(reports, LoadState.UNCONFIRMED_EMPTY),
                not_ready=_keys_in(reports, LoadState.NOT_READY),
                # A person who chose symbols knows that the days are not whole.
                partial=_keys_in(
                    [report for report in reports if report.load.reason != SUBSET],
                    LoadState.PARTIAL,
                ),
            ),
            LEDGER_BALANCES: judge_ledger(conn, source, [r.load.load_id for r in loaded]),
            ERROR_RATE: judge_error_rate(read, rejected),
            COMPLETENESS: judge_completeness(conn, scope_of(feed).name, keys),
            NO_COPIES: judge_copies(conn, scope_of(feed).name, keys, feed.identical_days),
            VOLUME: judge_volume(conn, source, days),
            NO_DUPLICATES: judge_duplicates(conn, source, days),
            FRESHNESS: judge_freshness(conn, source, newest_due_session(feed, now, cache_dir)),
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
    return sorted(report.key for report in reports if report.load.state is state)


def freshness_evaluation(
    postgres: PostgresCopyResource,
    feed: Feed,
    asset_key: dg.AssetKey,
    now: datetime,
    cache_dir: Path,
) -> dg.AssetCheckEvaluation:
    """The evaluation of freshness between two runs, when nothing was loaded."""
    with closing(postgres.connect()) as conn:
        verdict = judge_freshness(conn, feed.source_name, newest_due_session(feed, now, cache_dir))
    return dg.AssetCheckEvaluation(
        asset_key=asset_key,
        check_name=FRESHNESS,
        passed=verdict.is_kept,
        severity=severity_of(verdict),
        description=description_of(verdict),
        metadata=metadata_of(verdict),
    )
