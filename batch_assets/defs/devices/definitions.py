"""Everything Dagster sees of devices, built from the configuration."""

import dagster as dg

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings


def build_device_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, job, sensor and schedule; nothing where `[devices]` is not written.

    Raises:
        ConfigurationError: `[devices]` is not as it must be.
    """
    if not settings.section("devices"):
        return dg.Definitions()
    from batch_assets.defs.devices.assets import build_device_assets
    from batch_assets.defs.devices.automation import (
        build_landing_sensor,
        build_load_job,
        build_schedule,
    )
    from batch_assets.sources.devices.settings import read_device_settings

    section = read_device_settings(settings)
    job = build_load_job()
    try:
        schedule = build_schedule(section, job)
    except dg.DagsterInvalidDefinitionError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [devices] cron is {section.cron!r}, expected five fields "
            "such as '*/15 * * * *'; correct it"
        ) from error
    return dg.Definitions(
        assets=[build_device_assets(settings, partitions)],
        jobs=[job],
        sensors=[build_landing_sensor(settings, section, job)],
        schedules=[schedule],
    )
