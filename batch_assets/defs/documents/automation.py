"""Jobs, sensor and schedule of documents: files that arrive are read without a person."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.documents.asset_keys import (
    ALL_SOURCES,
    SOURCE_TAG,
    chunks_key_of,
    documents_key_of,
)
from batch_assets.defs.documents.run_requests import Requests, Tick, evaluate_requests
from batch_assets.ingest.documents.run import scan_whole
from batch_assets.ingest.documents.scan import scan_documents
from batch_assets.ingest.documents.waiting import WaitingDay, read_waiting_sets
from batch_assets.postgres.connect import translating_errors
from batch_assets.sources.documents.landing import ScanReport
from batch_assets.sources.documents.sources import DocumentSource

DEFAULT_JOB = "document_ingest"

# A schedule is given 60 s by Dagster; the next one, or the sensor, goes on.
_RESCAN_SECONDS = 30.0

# Reasons in one line of the list of ticks.
_SHOWN_NOTES = 5

AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_ingest_job(sources: Sequence[DocumentSource], name: str, tag: str) -> AssetJob:
    """The job that reads the documents of some sources; its runs carry a tag."""
    keys = [key for source in sources for key in (documents_key_of(source), chunks_key_of(source))]
    named = ", ".join(source.name for source in sources)
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(*keys),
        tags={SOURCE_TAG: tag},
        description=f"Read the documents of {named} that arrived on a day or in a range of days.",
        executor_def=dg.in_process_executor,
    )


def build_default_job(sources: Sequence[DocumentSource]) -> AssetJob:
    """The job `document_ingest`: all sources."""
    return build_ingest_job(sources, DEFAULT_JOB, ALL_SOURCES)


def build_landing_sensor(
    source: DocumentSource, job: AssetJob, partitions: dg.PartitionsDefinition[str]
) -> dg.SensorDefinition:
    """Watch a landing folder: a bounded look at each tick, then one run for each day."""

    @dg.sensor(
        name=f"{job.name}_sensor",
        job=job,
        minimum_interval_seconds=source.watch_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if source.watch
        else dg.DefaultSensorStatus.STOPPED,
        description=f"Looks into {source.url} every {source.watch_seconds} s and starts one run "
        "for each arrival day that has files to read, once they have stopped growing.",
    )
    def landing_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> dg.SensorResult:
        scanned = scan_documents(
            postgres.connect, source, now=clock.now(), after=context.cursor or ""
        )
        waiting = _read_waiting(postgres, source)
        tick = Tick(source, partitions, scanned.report, waiting, clock.now())
        requests = evaluate_requests(context.instance, tick)
        return dg.SensorResult(
            run_requests=requests.runs,
            skip_reason=None if requests.runs else _reason(scanned.report, requests),
            cursor=scanned.report.position,
        )

    return landing_sensor


def build_rescan_schedule(
    source: DocumentSource, job: AssetJob, partitions: dg.PartitionsDefinition[str]
) -> dg.ScheduleDefinition:
    """Look at a whole landing folder at set times, for sources that are not watched."""

    @dg.schedule(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=source.schedule or "",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Looks into {source.url} at {source.schedule} (UTC) and starts one run for "
        "each arrival day that has files to read.",
    )
    def rescan(
        context: dg.ScheduleEvaluationContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        scanned = scan_whole(postgres.connect, source, now=clock.now, seconds=_RESCAN_SECONDS)
        waiting = _read_waiting(postgres, source)
        # The next tick may be a day away: what has to be read is read now.
        tick = Tick(source, partitions, scanned.report, waiting, clock.now(), gathers=False)
        requests = evaluate_requests(context.instance, tick)
        yield from requests.runs
        if not requests.runs:
            yield _reason(scanned.report, requests)

    return rescan


def _read_waiting(postgres: PostgresCopyResource, source: DocumentSource) -> list[WaitingDay]:
    with translating_errors(), closing(postgres.connect()) as conn:
        return read_waiting_sets(conn, source.name)


def _reason(report: ScanReport, requests: Requests) -> dg.SkipReason:
    """What was seen, in one line."""
    seen = f"{report.listed} files looked at, {report.new} new, {report.changed} changed"
    seen += f", {report.growing} still growing" if report.growing else ""
    seen += f", {report.deleted} gone" if report.deleted else ""
    if report.withheld:
        seen += f", {report.withheld} not marked as gone because the folder is empty as a whole"
    if report.is_busy:
        seen = "another scan is going on"
    notes = requests.notes[:_SHOWN_NOTES]
    if len(requests.notes) > len(notes):
        notes.append(f"{len(requests.notes) - len(notes)} more days wait")
    return dg.SkipReason("; ".join([seen, *notes]))
