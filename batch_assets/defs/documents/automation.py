"""Jobs, sensor and schedule of documents: files that arrive are read without a person."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.documents.asset_keys import (
    ALL_SOURCES,
    SOURCE_TAG,
    chunks_key_of,
    documents_key_of,
)
from batch_assets.sources.documents.sources import DocumentSource

DEFAULT_JOB = "document_ingest"

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
        from batch_assets.defs.documents.ticks import look_at_landing

        return look_at_landing(context, source, partitions, postgres, clock)

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
        from batch_assets.defs.documents.ticks import rescan_landing

        yield from rescan_landing(context, source, partitions, postgres, clock)

    return rescan
