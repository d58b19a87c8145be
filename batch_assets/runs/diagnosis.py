"""What to do about one run, from what was seen of it. Pure decisions; repair.py carries them out.

A run is ended only when its process is certainly gone, or when it is on another machine and has
let every lease run out. What lives is never touched: neither a stopped process nor a slow one.
"""

from dataclasses import dataclass
from enum import StrEnum

import dagster as dg

from batch_assets.execution.process_identity import Life
from batch_assets.loading.abandoned import Hold
from batch_assets.runs.lost_leases import SILENT_SECONDS
from batch_assets.runs.workers import Stage, Worker

# A launched worker needs 3 s to import Dagster, 30 s on two loaded cores, to say it is there.
HANDOVER_SECONDS = 30.0

# As free_slots_after_run_end_seconds of dagster.yaml: a run that ended well frees its own slots.
END_GRACE_SECONDS = 30.0

ACTIVE_STATUSES = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
_ENDED_STATUSES = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


class Action(StrEnum):
    """What a run needs."""

    NONE = "none"
    FAIL = "fail"
    CANCEL = "cancel"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A run and what is left of it.

    Attributes:
        run_id: Of Dagster.
        job_name: Of Dagster; empty when the run was deleted.
        status: None when the run was deleted.
        age_seconds: Since its status changed; infinite when the run was deleted.
        is_remote: Created by one process to be launched by another, which may still do so.
        worker: The process that answers for it, if it was recorded.
        life: Whether that process lives.
        holds: Its leases.
        has_slots: Steps of it hold or wait for slots of a pool.
        has_loads: Loads of it say `running`.
    """

    run_id: str
    job_name: str
    status: dg.DagsterRunStatus | None
    age_seconds: float
    is_remote: bool
    worker: Worker | None
    life: Life
    holds: tuple[Hold, ...] = ()
    has_slots: bool = False
    has_loads: bool = False

    @property
    def stage(self) -> Stage | None:
        """What the recorded process has to do with the run."""
        return self.worker.stage if self.worker is not None else None

    @property
    def process_name(self) -> str:
        """The recorded process, for a person."""
        return self.worker.process.name if self.worker is not None else "a process"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a run needs, and what was seen that says so."""

    action: Action
    seen: str = ""


_HEALTHY = Diagnosis(Action.NONE)


def evaluate_run(run: SeenRun, *, start_timeout_seconds: float) -> Diagnosis:
    """Decide what to do about a run.

    Args:
        run: What was seen of it.
        start_timeout_seconds: How long Dagster waits for a launched run to start.
    """
    if run.stage is Stage.WORKING and run.life is Life.ALIVE:
        return _HEALTHY
    if run.status is None or run.status in _ENDED_STATUSES:
        return _evaluate_ended(run)
    if run.status not in ACTIVE_STATUSES:
        return _HEALTHY
    seen = _sign_of_dead_process(run) or _sign_of_silence(run, start_timeout_seconds)
    if seen is None:
        return _HEALTHY
    is_canceling = run.status is dg.DagsterRunStatus.CANCELING
    return Diagnosis(Action.CANCEL if is_canceling else Action.FAIL, seen)


def _sign_of_dead_process(run: SeenRun) -> str | None:
    if run.worker is None or run.life is not Life.DEAD:
        return None
    if run.stage is Stage.WORKING:
        return f"{run.process_name} worked on it and is gone"
    is_starting = run.status is dg.DagsterRunStatus.STARTING
    if run.stage is Stage.LAUNCHING and is_starting and run.worker.age_seconds > HANDOVER_SECONDS:
        return (
            f"{run.process_name} launched it and is gone, and no process started to work on it "
            f"within {HANDOVER_SECONDS:.0f} s"
        )
    # What a daemon created, a daemon that is started again launches.
    is_own = run.status is dg.DagsterRunStatus.NOT_STARTED and not run.is_remote
    return f"{run.process_name} was about to execute it and is gone" if is_own else None


def _sign_of_silence(run: SeenRun, start_timeout_seconds: float) -> str | None:
    if run.holds and all(hold.is_silent for hold in run.holds):
        last = run.holds[-1]
        return (
            f"process {last.pid} on host {last.host} has not renewed its leases for "
            f"{SILENT_SECONDS:.0f} s after they ran out"
        )
    is_waiting = run.stage is not Stage.WORKING and (
        run.status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING)
        # Nobody but its creator executes such a run, and that one is not known to live.
        or (
            run.status is dg.DagsterRunStatus.NOT_STARTED
            and not run.is_remote
            and run.life is not Life.ALIVE
        )
    )
    if is_waiting and 0 < start_timeout_seconds < run.age_seconds:
        return f"no process started to work on it within {start_timeout_seconds:.0f} s"
    return None


def _evaluate_ended(run: SeenRun) -> Diagnosis:
    """A run that Dagster knows to be over, or deleted, gives back what it still holds."""
    what = {"pool slots": run.has_slots, "leases": bool(run.holds), "loads": run.has_loads}
    left = [name for name, is_there in what.items() if is_there]
    ended = "it was deleted" if run.status is None else f"it has ended ({run.status.value})"
    found = Diagnosis(Action.RELEASE, f"{ended} and still has {', '.join(left)}")
    if not left:
        return _HEALTHY
    if run.stage is Stage.WORKING and run.life is Life.DEAD:
        return found
    # Nobody here can see its process. Leases speak for themselves; where there is none, time does.
    if run.holds:
        return found if all(hold.is_silent for hold in run.holds) else _HEALTHY
    return found if run.age_seconds > END_GRACE_SECONDS else _HEALTHY
