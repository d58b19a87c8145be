"""Everything Dagster sees of transfers, built from the configuration."""

import dagster as dg

from batch_assets.settings import Settings


def build_tables_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, jobs and schedules of all transfers; nothing where there is none.

    `table_transfer` runs the first transfer.

    Raises:
        ConfigurationError: A transfer is not as the configuration file must have it.
    """
    if not settings.section("tables"):
        return dg.Definitions()
    # Who has no transfers does not pay for importing what describes them.
    from batch_assets.defs.tables.assets import build_transfer_asset
    from batch_assets.defs.tables.automation import (
        DEFAULT_JOB,
        build_transfer_job,
        build_transfer_schedule,
    )
    from batch_assets.sources.tables.transfer import build_transfers

    transfers = list(build_transfers(settings.section("tables")).values())
    jobs = [build_transfer_job(item, f"{DEFAULT_JOB}_{item.name}") for item in transfers]
    schedules = [
        build_transfer_schedule(item, job)
        for item, job in zip(transfers, jobs, strict=True)
        if item.schedule
    ]
    if transfers:
        jobs.append(build_transfer_job(transfers[0], DEFAULT_JOB))
    return dg.Definitions(
        assets=[build_transfer_asset(item, settings, partitions) for item in transfers],
        jobs=jobs,
        schedules=schedules,
    )
