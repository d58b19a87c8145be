"""Everything Dagster sees of spreadsheets, built from the configured templates."""

import dagster as dg

from batch_assets.settings import Settings


def build_spreadsheet_definitions(
    settings: Settings, partitions: dg.PartitionsDefinition[str]
) -> dg.Definitions:
    """Assets, checks, jobs, sensor and schedule of all templates; nothing where there is none.

    Without a landing folder there are no assets, without an inbox no job that replays it.

    Raises:
        ConfigurationError: A template is not as the configuration file must have it.
    """
    if not settings.section("spreadsheets"):
        return dg.Definitions()
    # Who has no spreadsheets does not pay for importing what describes them.
    from batch_assets.sources.spreadsheets.settings import (
        folder_of,
        read_spreadsheet_settings,
        read_templates,
    )

    section = read_spreadsheet_settings(settings)
    templates = read_templates(settings)
    landing, inbox = folder_of(settings, section.landing), folder_of(settings, section.inbox)
    if not templates or (landing is None and inbox is None):
        return dg.Definitions()
    from batch_assets.defs.spreadsheets.assets import build_table
    from batch_assets.defs.spreadsheets.automation import (
        build_load_job,
        build_replay_job,
        build_schedule,
        build_sensor,
    )

    assets, schedules = [], []
    jobs: list[object] = []
    if landing is not None:
        assets = [build_table(item, landing, settings, partitions) for item in templates.values()]
        load_job = build_load_job(templates)
        jobs.append(load_job)
        schedules.append(build_schedule(templates, section, landing, load_job, settings))
    if inbox is not None:
        jobs.append(build_replay_job(templates, inbox, settings))
    sensor = build_sensor(templates, section, (landing, inbox), jobs, settings)
    return dg.Definitions(
        assets=assets,
        jobs=jobs,  # type: ignore[arg-type]  # reason: the class of asset jobs is not exported
        sensors=[sensor],
        schedules=schedules,
    )
