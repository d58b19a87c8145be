"""What a backfill needs next, from what was seen of it. Pure decisions; the driver acts on them."""

from dataclasses import dataclass
from enum import StrEnum

from batch_assets.runs.backfill_states import BackfillState, Wanted


class Step(StrEnum):
    """What the driver does for a backfill."""

    NOTHING = "nothing"
    LAUNCH = "launch"
    RUN = "run"
    HOLD = "hold"
    REST = "rest"
    STOP = "stop"
    END = "end"


@dataclass(frozen=True, slots=True)
class SeenBackfill:
    """A backfill and its newest segment.

    Attributes:
        wanted: What people asked for last.
        state: How far it was at the last look.
        is_feed_paused: Its feed is paused.
        has_segment: It was handed to Dagster at least once.
        is_over: Dagster has finished with its newest segment, or forgot it.
        is_canceled_elsewhere: Somebody canceled the segment in Dagster itself.
        is_held: A pause kept partitions of the segment from being handed out.
        is_retry_lost: A run was killed, and Dagster closed the segment before it started it again.
        active_runs: Runs of it that are starting or running.
        queued_runs: Runs of it that wait in Dagster's queue.
        rest: Partitions that have still to be loaded.
    """

    wanted: Wanted
    state: BackfillState
    is_feed_paused: bool = False
    has_segment: bool = False
    is_over: bool = False
    is_canceled_elsewhere: bool = False
    is_held: bool = False
    is_retry_lost: bool = False
    active_runs: int = 0
    queued_runs: int = 0
    rest: int = 0


def evaluate_step(seen: SeenBackfill) -> Step:
    """Decide what a backfill needs.

    LAUNCH hands what is left to Dagster; RUN says that it runs; HOLD takes back what Dagster has
    not begun; REST says that it rests; STOP ends its runs; END closes it.
    """
    is_with_dagster = seen.has_segment and not seen.is_over
    if seen.wanted is Wanted.CANCEL:
        return Step.STOP if is_with_dagster else Step.END
    if seen.wanted is Wanted.PAUSE or seen.is_feed_paused:
        return _step_of_paused(seen, is_with_dagster)
    if is_with_dagster:
        return Step.NOTHING if seen.state is BackfillState.RUNNING else Step.RUN
    if not seen.has_segment:
        return Step.LAUNCH
    is_resumed = (seen.is_held or seen.is_retry_lost) and not seen.is_canceled_elsewhere
    return Step.LAUNCH if is_resumed and seen.rest else Step.END


def _step_of_paused(seen: SeenBackfill, is_with_dagster: bool) -> Step:
    if seen.has_segment and seen.is_over and not seen.rest:
        # Everything had begun when the pause came.
        return Step.END
    if seen.queued_runs:
        return Step.HOLD
    if seen.active_runs:
        return Step.NOTHING
    if seen.state is not BackfillState.PAUSED:
        # Dagster may not have made runs of it yet, and must not do so.
        return Step.HOLD if is_with_dagster and not seen.is_held else Step.REST
    return Step.NOTHING
