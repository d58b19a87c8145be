"""One run of a transfer: load, tell Dagster window by window, judge, fail if a window did."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import date

import dagster as dg

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, open_step_log
from batch_assets.defs.tables.assets import asset_key_of
from batch_assets.defs.tables.evaluate import evaluate_run
from batch_assets.defs.tables.metadata import metadata_of, read_metrics, summary_of
from batch_assets.ingest.tables.run import run_transfer
from batch_assets.ingest.tables.transfer import options_of
from batch_assets.loading.report import LoadReport, LoadState
from batch_assets.settings import Settings
from batch_assets.sources.tables.open import source_connector
from batch_assets.sources.tables.transfer import Transfer


def run_load(
    context: dg.AssetExecutionContext,
    transfer: Transfer,
    settings: Settings,
    postgres: PostgresCopyResource,
    *,
    force: bool,
) -> Iterator[dg.AssetCheckResult]:
    """Load the days of a run, or the one window of a transfer without days.

    Raises:
        Failure: A window failed; the others are committed and materialised.
        RetryRequested: Something that time can mend stood in the way.
    """
    asset_key, is_daily = asset_key_of(transfer), bool(transfer.window_column)
    with (
        translating_failures(context.op_execution_context.retry_number),
        open_step_log(settings, postgres.connect, context, transfer=transfer.name) as log,
    ):
        log.write("run_started", f"{transfer.target}: rows of {transfer.origin}")
        source = source_connector(
            transfer, postgres.connect, secret=settings.secret, options=settings.database
        )
        options = options_of(transfer, settings.loading, run_id=context.run.run_id, force=force)
        days = [date.fromisoformat(key) for key in context.partition_keys] if is_daily else None
        runs = run_transfer(postgres.connect, transfer, source, options, days=days)
        seen = []
        for report in runs:
            log_load(log, settings, report.window.key, report, summary_of(report))
            seen.append(_log(context, postgres, asset_key, report, is_daily))
        yield from evaluate_run(postgres, transfer, source, asset_key, seen)
    _fail_if_any(seen)


def _log(
    context: dg.AssetExecutionContext,
    postgres: PostgresCopyResource,
    asset_key: dg.AssetKey,
    report: LoadReport,
    is_daily: bool,
) -> LoadReport:
    """Tell Dagster about one window as soon as it is committed.

    A window that failed, or is empty without anybody having said that it may be, is observed only.
    """
    with closing(postgres.connect()) as conn:
        metrics = read_metrics(conn, report.load_id)
    is_good = report.state in (LoadState.SUCCESS, LoadState.PARTIAL, LoadState.SKIPPED)
    kind = dg.AssetMaterialization if is_good else dg.AssetObservation
    context.log_event(
        kind(
            asset_key=asset_key,
            partition=report.window.key if is_daily else None,
            metadata=metadata_of(report, metrics),
            description=summary_of(report),
        )
    )
    if not is_good:
        context.log.warning("%s is %s: %s", report.window.key, report.state, summary_of(report))
    return report


def _fail_if_any(reports: list[LoadReport]) -> None:
    """Fail the step if a window failed; the good ones are committed and materialised already."""
    failed: Mapping[str, str] = {
        report.window.key: summary_of(report)
        for report in reports
        if report.state is LoadState.FAILED
    }
    if not failed:
        return
    first = "; ".join(f"{key}: {text}" for key, text in sorted(failed.items())[:10])
    raise dg.Failure(
        description=f"{len(failed)} of {len(reports)} windows failed: {first}",
        metadata={"failed": dg.MetadataValue.json(dict(failed))},
        allow_retries=any(
            report.error is not None and report.error.retryable for report in reports
        ),
    )
