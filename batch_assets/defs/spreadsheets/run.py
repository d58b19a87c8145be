"""One run of a template: load, tell Dagster day by day, judge, fail if a file was not loaded."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, log_partition, open_step_log
from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.defs.spreadsheets.evaluate import evaluate_run, failed_day_evaluation
from batch_assets.defs.spreadsheets.metadata import day_metadata, summary_of
from batch_assets.execution.isolation import open_workers
from batch_assets.ingest.spreadsheets.load import (
    PRELOAD,
    FileReport,
    load_workbook_files,
    options_of,
)
from batch_assets.loading.report import LoadState
from batch_assets.runs.run_log import RunLog
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.landing import find_arrived
from batch_assets.sources.spreadsheets.settings import error_folder
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate


def run_load(
    context: dg.AssetExecutionContext,
    template: SpreadsheetTemplate,
    landing: Path,
    settings: Settings,
    postgres: PostgresCopyResource,
    *,
    force: bool,
) -> Iterator[dg.AssetCheckResult]:
    """Load the files that arrived on the days of a run.

    Raises:
        Failure: A file was not loaded; the others are committed, and their days materialised.
        RetryRequested: Something that time can mend stood in the way.
    """
    run_id = context.run.run_id
    options = options_of(template, settings.loading, run_id=run_id, force=force)
    days = [date.fromisoformat(key) for key in context.partition_keys]
    reports: list[FileReport] = []
    with (
        translating_failures(context.op_execution_context.retry_number),
        open_step_log(settings, postgres.connect, context, template=template.name) as log,
    ):
        log.write("run_started", f"{len(days)} days of {template.files} in {landing}")
        arrived = find_arrived(landing, template)
        with open_workers(settings, preload=PRELOAD) as workers:
            for day in days:
                files = [item.path for item in arrived if item.day == day]
                of_day = list(
                    load_workbook_files(
                        postgres.connect,
                        template,
                        files,
                        day,
                        workers=workers,
                        options=options,
                        error_folder=error_folder(settings),
                    )
                    if files
                    else ()
                )
                _write_lines(log, settings, day.isoformat(), of_day)
                _log_day(context, template, day, of_day)
                reports += of_day
        yield from evaluate_run(postgres, template, reports, days, options)
        _fail_if_any(reports)


def _write_lines(log: RunLog, settings: Settings, key: str, reports: Sequence[FileReport]) -> None:
    """Write one line for each load of a day into the run's log; one for a day without files."""
    if not reports:
        log_partition(log, settings, key, LoadState.SKIPPED, summary_of(reports))
    for report in reports:
        log_load(
            log,
            settings,
            key,
            report.load,
            report.message or summary_of([report]),
            is_warning=bool(report.warnings) and report.load.error is None,
            files=list(report.files),
        )


def _log_day(
    context: dg.AssetExecutionContext,
    template: SpreadsheetTemplate,
    day: date,
    reports: Sequence[FileReport],
) -> None:
    """Tell Dagster about one day as soon as it is committed."""
    for report in reports:
        for warning in report.warnings:
            context.log.warning("%s: %s", ", ".join(report.files), warning)
    failed = [report for report in reports if report.load.error is not None]
    if failed:
        message = "; ".join(report.message for report in failed)
        context.log.error("%s: %s", day, message)
        context.log_event(failed_day_evaluation(template, day, message))
        for report in failed:
            if report.error_workbook is not None:
                context.log.error("rejected rows: %s", report.error_workbook)
        return
    context.log_event(
        dg.AssetMaterialization(
            asset_key=asset_key_of(template),
            partition=day.isoformat(),
            metadata=day_metadata(reports),
            description=summary_of(reports),
        )
    )


def _fail_if_any(reports: Sequence[FileReport]) -> None:
    """Fail the step if a file was not loaded; the others are committed."""
    failed = [report for report in reports if report.load.error is not None]
    if not failed:
        return
    errors = [report.load.error for report in failed if report.load.error is not None]
    if all(error.retryable for error in errors):
        raise errors[0]
    raise dg.Failure(
        description=f"{len(failed)} of {len(reports)} files or days were not loaded; the others "
        "are stored.\n" + "\n".join(report.message for report in failed),
        allow_retries=False,
    )
