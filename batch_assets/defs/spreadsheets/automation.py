"""Job, sensor and schedule of spreadsheets: files and corrections that arrive are loaded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.settings import SpreadsheetSettings
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

LOAD_JOB, REPLAY_JOB = "spreadsheet_load", "spreadsheet_replay"

Templates = Mapping[str, SpreadsheetTemplate]
AssetJob = Any
"""What define_asset_job returns; Dagster 1.13 does not export the class."""


def build_load_job(templates: Templates) -> AssetJob:
    """The job `spreadsheet_load`: all templates, or those that are selected."""
    keys = [asset_key_of(template) for template in templates.values()]
    return dg.define_asset_job(
        name=LOAD_JOB,
        selection=dg.AssetSelection.assets(*keys),
        description="Load the spreadsheets that arrived on a day or in a range of days.",
        executor_def=dg.in_process_executor,
    )


def build_replay_job(templates: Templates, inbox: Path, settings: Settings) -> dg.JobDefinition:
    """The job that loads corrected workbooks from the inbox."""

    @dg.op(
        name="replay_corrected_workbooks",
        pool=POSTGRES_WRITE,
        description="Load corrected rows into the days that rejected them.",
    )
    def replay(
        context: dg.OpExecutionContext, postgres: PostgresCopyResource, clock: ClockResource
    ) -> None:
        from batch_assets.defs.spreadsheets.run_replay import replay_corrected

        replay_corrected(context, templates, inbox, settings, postgres=postgres, clock=clock)

    @dg.job(
        name=REPLAY_JOB,
        description="Load corrected rows of workbooks in the inbox into the days that rejected "
        "them; what is still wrong comes back in a new workbook.",
        executor_def=dg.in_process_executor,
    )
    def replay_job() -> None:
        replay()

    return replay_job


def build_sensor(
    templates: Templates,
    section: SpreadsheetSettings,
    folders: tuple[Path | None, Path | None],
    jobs: Sequence[Any],
    settings: Settings,
) -> dg.SensorDefinition:
    """Watch the landing folder and the inbox.

    Args:
        templates: By name.
        section: How often, and when a file counts as written.
        folders: Landing folder and inbox, where they are set.
        jobs: Those that runs are asked of.
        settings: First day of the partitions.
    """

    @dg.sensor(
        name="spreadsheet_sensor",
        jobs=list(jobs),
        minimum_interval_seconds=section.watch_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run for each day and template with files that are new or changed, "
        "and one for corrected workbooks in the inbox.",
    )
    def watch(clock: ClockResource) -> dg.SensorResult:
        from batch_assets.defs.spreadsheets.ticks import look_at_folders

        return look_at_folders(templates, section, folders, settings, clock.now())

    return watch


def build_schedule(
    templates: Templates,
    section: SpreadsheetSettings,
    landing: Path,
    job: AssetJob,
    settings: Settings,
) -> dg.ScheduleDefinition:
    """Load the files of today and yesterday at set times, for folders that nobody watches."""

    @dg.schedule(
        name=f"{LOAD_JOB}_schedule",
        job=job,
        cron_schedule=section.cron,
        execution_timezone="UTC",
        description=f"Loads the files of today and yesterday at {section.cron} (UTC); what is "
        "known is recognised and not read.",
    )
    def newest_days(
        context: dg.ScheduleEvaluationContext,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        from batch_assets.defs.spreadsheets.ticks import ask_for_newest

        yield from ask_for_newest(templates, landing, settings, context.scheduled_execution_time)

    return newest_days
