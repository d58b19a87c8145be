"""One run of the replay: rows of corrected workbooks into the days that rejected them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.common.retries import translating_failures
from batch_assets.defs.spreadsheets.asset_keys import asset_key_of
from batch_assets.defs.spreadsheets.automation import Templates
from batch_assets.defs.spreadsheets.evaluate import open_letters_evaluation
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
from batch_assets.sources.spreadsheets.settings import error_folder


def replay_corrected(
    context: dg.OpExecutionContext,
    templates: Templates,
    inbox: Path,
    settings: Settings,
    *,
    postgres: PostgresCopyResource,
    clock: ClockResource,
) -> None:
    """Load the corrected workbooks that are in the inbox now.

    Raises:
        Failure: A workbook was refused; the others are committed.
        RetryRequested: Something that time can mend stood in the way.
    """
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
            others=other_replays(postgres.connect, settings, error_folder(settings), run_id=run_id),
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
