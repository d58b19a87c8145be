"""One tick of the sensor or schedule of spreadsheets: look into the folders, ask for runs."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg

from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.defs.spreadsheets.automation import LOAD_JOB, REPLAY_JOB, Templates
from batch_assets.ingest.spreadsheets.inbox import find_corrected
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.landing import ArrivedFile, find_arrived, mark_of
from batch_assets.sources.spreadsheets.settings import SpreadsheetSettings
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate


def look_at_folders(
    templates: Templates,
    section: SpreadsheetSettings,
    folders: tuple[Path | None, Path | None],
    settings: Settings,
    now: datetime,
) -> dg.SensorResult:
    """Ask for a run for each day and template with files, and for one of corrected workbooks.

    Args:
        templates: By name.
        section: When a file counts as written.
        folders: Landing folder and inbox, where they are set.
        settings: First day of the partitions.
        now: The present, aware.
    """
    landing, inbox = folders
    before = now.timestamp() - section.settle_seconds
    runs: list[dg.RunRequest] = []
    if landing is not None:
        for template in templates.values():
            settled = [f for f in find_arrived(landing, template) if f.changed_at <= before]
            runs += _requests(template, settled, settings, now.date())
    if inbox is not None:
        files = find_corrected(inbox, now=now, settle_seconds=section.settle_seconds)
        if files:
            mark = "/".join(f"{path.name}@{path.stat().st_mtime}" for path in files)
            runs.append(dg.RunRequest(run_key=f"replay {mark}", job_name=REPLAY_JOB))
    if not runs:
        return dg.SensorResult(skip_reason="no files and no corrected workbooks")
    return dg.SensorResult(run_requests=runs)


def ask_for_newest(
    templates: Templates, landing: Path, settings: Settings, now: datetime
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a run for each template with files of today or yesterday."""
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
