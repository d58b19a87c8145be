"""Job, sensor and schedule of spreadsheets: files and corrections that arrive are loaded."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from batch_assets.defs.common.pools import POSTGRES_WRITE
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.defs.spreadsheets.checks import open_letters_evaluation
from batch_assets.defs.spreadsheets.metadata import replay_metadata
from batch_assets.execution.isolation import open_workers
from batch_assets.ingest.corrections.domains import other_replays
from batch_assets.ingest.spreadsheets.inbox import (
    InboxOutcome,
    Replayer,
    find_corrected,
    replay_inbox,
)
from batch_assets.ingest.spreadsheets.load import PRELOAD, options_of
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.landing import ArrivedFile, find_arrived, mark_of
from batch_assets.sources.spreadsheets.settings import SpreadsheetSettings, error_folder
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
        run_id = context.run.run_id
        with (
            translating_failures(context.retry_number),
            open_workers(settings, preload=PRELOAD) as workers,
        ):
            replayer = Replayer(
                connect=postgres.connect,
                templates=templates,
                workers=workers,
                options_of=lambda chosen: options_of(chosen, settings.loading, run_id=run_id),
                error_folder=error_folder(settings),
                others=other_replays(
                    postgres.connect, settings, error_folder(settings), run_id=run_id
                ),
            )
            files = find_corrected(inbox, now=clock.now(), settle_seconds=0)
            outcomes = list(_logged(context, postgres, templates, replay_inbox(replayer, files)))
        refused = [str(item.error) for item in outcomes if item.error is not None]
        if refused:
            raise dg.Failure(
                description=f"{len(refused)} of {len(outcomes)} workbooks were refused; they are "
                "in the folder refused of the inbox.\n" + "\n".join(refused),
                allow_retries=False,
            )

    @dg.job(
        name=REPLAY_JOB,
        description="Load corrected rows of workbooks in the inbox into the days that rejected "
        "them; what is still wrong comes back in a new workbook.",
        executor_def=dg.in_process_executor,
    )
    def replay_job() -> None:
        replay()

    return replay_job


def _logged(
    context: dg.OpExecutionContext,
    postgres: PostgresCopyResource,
    templates: Templates,
    outcomes: Iterator[InboxOutcome],
) -> Iterator[InboxOutcome]:
    """Tell Dagster which days have changed, as soon as they are committed."""
    by_table = {template.table: template for template in templates.values()}
    for outcome in outcomes:
        if outcome.replay is None:
            context.log.error("%s was refused: %s", outcome.file, outcome.error)
            yield outcome
            continue
        for item in outcome.replay.replays:
            template = by_table[item.target]
            day = date.fromisoformat(item.window.key[:10])
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=asset_key_of(template),
                    partition=day.isoformat(),
                    metadata=replay_metadata(outcome.replay),
                    description=f"{item.fixed} rows corrected, {item.dropped} dropped, "
                    f"{item.refused} still wrong",
                )
            )
            evaluation = open_letters_evaluation(postgres, template, day)
            context.log_event(evaluation)  # type: ignore[arg-type]  # reason: taken, but not in the type
        yield outcome


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
    landing, inbox = folders

    @dg.sensor(
        name="spreadsheet_sensor",
        jobs=list(jobs),
        minimum_interval_seconds=section.watch_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run for each day and template with files that are new or changed, "
        "and one for corrected workbooks in the inbox.",
    )
    def watch(clock: ClockResource) -> dg.SensorResult:
        before = clock.now().timestamp() - section.settle_seconds
        runs: list[dg.RunRequest] = []
        if landing is not None:
            for template in templates.values():
                settled = [f for f in find_arrived(landing, template) if f.changed_at <= before]
                runs += _requests(template, settled, settings, clock.now().date())
        if inbox is not None:
            files = find_corrected(inbox, now=clock.now(), settle_seconds=section.settle_seconds)
            if files:
                mark = "/".join(f"{path.name}@{path.stat().st_mtime}" for path in files)
                runs.append(dg.RunRequest(run_key=f"replay {mark}", job_name=REPLAY_JOB))
        if not runs:
            return dg.SensorResult(skip_reason="no files and no corrected workbooks")
        return dg.SensorResult(run_requests=runs)

    return watch


def _requests(
    template: SpreadsheetTemplate,
    files: Sequence[ArrivedFile],
    settings: Settings,
    today: date,
    *,
    tick: str = "",
) -> list[dg.RunRequest]:
    """A run for each day; the same files are asked for once."""
    days = sorted({item.day for item in files})
    return [
        dg.RunRequest(
            run_key=f"{template.name} {day} {mark_of(f for f in files if f.day == day)}{tick}",
            job_name=LOAD_JOB,
            partition_key=day.isoformat(),
            asset_selection=[asset_key_of(template)],
        )
        for day in days
        # Other days are no partitions.
        if settings.dagster.first_day <= day <= today
    ]


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
        now = context.scheduled_execution_time
        today = now.date()
        count = 0
        for template in templates.values():
            newest = [
                item
                for item in find_arrived(landing, template)
                if today - timedelta(days=1) <= item.day <= today
            ]
            tick = f" {now.isoformat(timespec='minutes')}"
            for request in _requests(template, newest, settings, today, tick=tick):
                count += 1
                yield request
        if not count:
            yield dg.SkipReason("No files of today or yesterday.")

    return newest_days
