"""One run of documents: look, read, tell Dagster day by day, judge, embed, fail if a day did."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.common.run_log import log_load, log_partition, open_step_log
from batch_assets.defs.documents.asset_keys import (
    chunks_key_of,
    documents_key_of,
)
from batch_assets.defs.documents.assets import IngestConfig
from batch_assets.defs.documents.evaluate import evaluate_run, failed_day_evaluation
from batch_assets.defs.documents.metadata import (
    chunks_metadata,
    documents_metadata,
    failures_of,
    summary_of,
)
from batch_assets.execution.isolation import open_workers
from batch_assets.ingest.documents.embed import embed_if_configured
from batch_assets.ingest.documents.error_report import write_page
from batch_assets.ingest.documents.errors import read_failed_documents
from batch_assets.ingest.documents.ingest import PRELOAD, IngestOptions
from batch_assets.ingest.documents.run import DayIngest, ingest_days, scan_whole
from batch_assets.loading.report import LoadState
from batch_assets.loading.streams import StreamOptions
from batch_assets.runs.run_log import RunLog
from batch_assets.settings import Settings
from batch_assets.sources.documents.sources import DocumentSource

# Failed days spelled out in the step's failure; each has its own check evaluation.
_LISTED_FAILURES = 10


def run_ingest(
    context: dg.AssetExecutionContext,
    source: DocumentSource,
    settings: Settings,
    config: IngestConfig,
    *,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> Iterator[dg.AssetCheckResult]:
    """Read the documents that arrived on the days of a run.

    Raises:
        Failure: A day could not be ended; the others are committed and materialised.
        RetryRequested: Something that time can mend stood in the way.
    """
    with (
        translating_failures(context.op_execution_context.retry_number),
        open_step_log(settings, postgres.connect, context, source=source.name) as log,
    ):
        log.write("run_started", f"{len(context.partition_keys)} days of {source.url}")
        if config.scan:
            scanned = scan_whole(postgres.connect, source, now=clock.now)
            context.log.info("landing folder: %s", scanned.report)
        with open_workers(settings, preload=PRELOAD) as workers:
            days = [
                _log_day(context, postgres, source, settings, _write_line(log, settings, day))
                for day in ingest_days(
                    postgres.connect,
                    source,
                    [date.fromisoformat(key) for key in context.partition_keys],
                    workers=workers,
                    options=_options(config, settings, context.run.run_id),
                )
            ]
        chosen = context.selected_asset_check_keys
        results = evaluate_run(postgres, source, days, seed=context.run.run_id)
        yield from (result for result in results if _key_of(result) in chosen)
        # Days are told by now: an endpoint that is down costs them nothing.
        embedded = embed_if_configured(postgres.connect, settings, source.name)
        if embedded is not None:
            context.log.info("embeddings: %s", embedded)
        _fail_if_any(days)


def _key_of(result: dg.AssetCheckResult) -> dg.AssetCheckKey | None:
    if result.asset_key is None or result.check_name is None:
        return None
    return dg.AssetCheckKey(result.asset_key, result.check_name)


def report_path_of(settings: Settings, source: str, key: str) -> Path:
    """Where the page with the failed documents of a day is."""
    return settings.state_dir / "reports" / "documents" / source / f"{key}.html"


def _options(config: IngestConfig, settings: Settings, run_id: str) -> IngestOptions:
    return IngestOptions(
        retry_failed=config.retry_failed,
        reprocess=config.reprocess,
        force=config.force,
        stream=StreamOptions(lease_seconds=settings.loading.lease_seconds, run_id=run_id),
    )


def _write_line(log: RunLog, settings: Settings, day: DayIngest) -> DayIngest:
    """Write the line of one day into the run's log, as soon as it is committed."""
    text = summary_of(day)
    if day.load is None or day.error is not None:
        error = type(day.error).__name__
        log_partition(log, settings, day.key, LoadState.FAILED, text, error=error)
        return day
    log_load(
        log,
        settings,
        day.key,
        day.load,
        text,
        files=dict(day.files),
        pages=day.segments,
        chunks=day.chunks,
    )
    return day


def _log_day(
    context: dg.AssetExecutionContext,
    postgres: PostgresCopyResource,
    source: DocumentSource,
    settings: Settings,
    day: DayIngest,
) -> DayIngest:
    """Tell Dagster about one day as soon as it is committed."""
    if day.error is not None:
        context.log.error("%s failed: %s", day.key, day.error)
        context.log_event(failed_day_evaluation(source, day))
        return day
    report = _write_report(postgres, source, settings, day)
    for key, metadata in (
        (documents_key_of(source), documents_metadata(day, report)),
        (chunks_key_of(source), chunks_metadata(day)),
    ):
        context.log_event(
            dg.AssetMaterialization(
                asset_key=key, partition=day.key, metadata=metadata, description=summary_of(day)
            )
        )
    if day.is_over_budget and day.load is not None:
        context.log.warning("%s: %s", day.key, day.load.message)
    return day


def _write_report(
    postgres: PostgresCopyResource, source: DocumentSource, settings: Settings, day: DayIngest
) -> Path | None:
    """The page with the failed documents of the day; an older one goes where none failed."""
    path = report_path_of(settings, source.name, day.key)
    if not failures_of(day):
        path.unlink(missing_ok=True)
        return None
    with closing(postgres.connect()) as conn:
        write_page(read_failed_documents(conn, source=source.name, day=day.day), path, "en")
    return path


def _fail_if_any(days: Sequence[DayIngest]) -> None:
    """Fail the step if a day could not be ended; the others are committed and materialised."""
    failed = [day for day in days if day.error is not None]
    if not failed:
        return
    first = failed[0].error
    if first is not None and all(day.error is None or day.error.retryable for day in failed):
        # Somebody else had the lease: later it is free, and what is done is recognised.
        raise first
    lines = [f"{day.key}: {day.error}" for day in failed[:_LISTED_FAILURES]]
    if len(failed) > _LISTED_FAILURES:
        lines.append(f"and {len(failed) - _LISTED_FAILURES} more; see ops.loads")
    raise dg.Failure(
        description=f"{len(failed)} of {len(days)} days could not be ended; the others are "
        "stored.\n" + "\n".join(lines),
        metadata={"failed_days": ", ".join(day.key for day in failed)},
        allow_retries=False,
    )
