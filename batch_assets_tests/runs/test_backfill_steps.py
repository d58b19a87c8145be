from dataclasses import replace

import pytest

from batch_assets.runs.backfill_states import BackfillState, Wanted
from batch_assets.runs.backfill_steps import SeenBackfill, Step, evaluate_step

ASKED = SeenBackfill(Wanted.RUN, BackfillState.REQUESTED, rest=60)
WITH_DAGSTER = replace(ASKED, state=BackfillState.RUNNING, has_segment=True)
OVER = replace(WITH_DAGSTER, is_over=True)
PAUSE = {"wanted": Wanted.PAUSE}
CANCEL = {"wanted": Wanted.CANCEL}


@pytest.mark.parametrize(
    ("seen", "changes", "step"),
    [
        (ASKED, {}, Step.LAUNCH),
        (WITH_DAGSTER, {}, Step.NOTHING),
        (WITH_DAGSTER, {"state": BackfillState.PAUSED}, Step.RUN),
        (OVER, {"rest": 0}, Step.END),
        # Runs that were killed too often: their days are not launched for ever.
        (OVER, {"rest": 3}, Step.END),
        (OVER, {"is_held": True}, Step.LAUNCH),
        (OVER, {"is_retry_lost": True}, Step.LAUNCH),
        (OVER, {"is_retry_lost": True, "rest": 0}, Step.END),
        (OVER, {"is_retry_lost": True, "is_canceled_elsewhere": True}, Step.END),
        (OVER, {"is_held": True, "rest": 0}, Step.END),
        # Somebody canceled it in Dagster's own pages.
        (OVER, {"is_held": True, "is_canceled_elsewhere": True}, Step.END),
        (ASKED, PAUSE, Step.REST),
        (ASKED, {"is_feed_paused": True}, Step.REST),
        (WITH_DAGSTER, {**PAUSE, "queued_runs": 2, "active_runs": 1}, Step.HOLD),
        (WITH_DAGSTER, {**PAUSE, "active_runs": 1}, Step.NOTHING),
        (WITH_DAGSTER, PAUSE, Step.HOLD),
        (WITH_DAGSTER, {**PAUSE, "is_held": True}, Step.REST),
        (OVER, {**PAUSE, "is_held": True}, Step.REST),
        (OVER, {**PAUSE, "is_held": True, "state": BackfillState.PAUSED}, Step.NOTHING),
        (OVER, {**PAUSE, "rest": 0}, Step.END),
        (ASKED, CANCEL, Step.END),
        (WITH_DAGSTER, {**CANCEL, "active_runs": 1}, Step.STOP),
        (WITH_DAGSTER, {**CANCEL, "is_feed_paused": True}, Step.STOP),
        (OVER, CANCEL, Step.END),
    ],
)
def test_step_follows_from_what_is_wanted_and_seen(
    seen: SeenBackfill, changes: dict[str, object], step: Step
) -> None:
    assert evaluate_step(replace(seen, **changes)) is step  # type: ignore[arg-type]
