"""Everything Dagster sees of documents, built from the configured sources."""

import dagster as dg

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings


def build_document_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, jobs, sensors and schedules of all sources; nothing where there is none.

    Raises:
        ConfigurationError: A source is not as the configuration file must have it.
    """
    if not settings.section("documents"):
        return dg.Definitions()
    # Who has no documents does not pay for importing what describes them.
    from batch_assets.defs.documents.assets import build_documents
    from batch_assets.defs.documents.automation import (
        DEFAULT_JOB,
        build_default_job,
        build_ingest_job,
        build_landing_sensor,
        build_rescan_schedule,
    )
    from batch_assets.sources.documents.sources import read_document_sources

    sources = list(read_document_sources(settings).values())
    if not sources:
        return dg.Definitions()
    parts = [dg.Definitions(jobs=[build_default_job(sources)])]
    for source in sources:
        job = build_ingest_job([source], f"{DEFAULT_JOB}_{source.name}", source.name)
        try:
            schedules = [build_rescan_schedule(source, job, partitions)] if source.schedule else []
        except dg.DagsterInvalidDefinitionError as error:
            raise ConfigurationError(
                f"{settings.config_file}: [documents.sources.{source.name}] schedule is "
                f"{source.schedule!r}, expected five fields of cron such as '0 * * * *'; correct it"
            ) from error
        parts.append(
            dg.Definitions(
                assets=[build_documents(source, settings, partitions)],
                jobs=[job],
                sensors=[build_landing_sensor(source, job, partitions)],
                schedules=schedules,
            )
        )
    return dg.Definitions.merge(*parts)
