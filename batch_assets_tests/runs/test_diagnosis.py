from dataclasses import replace

import dagster as dg
import pytest

from batch_assets.execution.process_identity import Life, ProcessIdentity
from batch_assets.loading.abandoned import Hold
from batch_assets.runs.diagnosis import Action, SeenRun, evaluate_run
from batch_assets.runs.workers import Stage, Worker

Status = dg.DagsterRunStatus

TIMEOUT_SECONDS = 180.0
PROCESS = ProcessIdentity("here", "m", "b", "n", 4711, "1")
SILENT = Hold("t/s/k", 1, "elsewhere", 7, "r", is_silent=True)
HELD = replace(SILENT, is_silent=False)


def seen(
    status: Status | None = Status.STARTED,
    stage: Stage | None = Stage.WORKING,
    life: Life = Life.DEAD,
    *,
    age_seconds: float = 10.0,
    **more: object,
) -> SeenRun:
    worker = Worker(PROCESS, stage, age_seconds) if stage is not None else None
    made = SeenRun("r", "job", status, age_seconds, is_remote=True, worker=worker, life=life)
    return replace(made, **more)  # type: ignore[arg-type]  # reason: fields by name


def decide(run: SeenRun) -> Action:
    return evaluate_run(run, start_timeout_seconds=TIMEOUT_SECONDS).action


@pytest.mark.parametrize("status", [Status.STARTING, Status.STARTED])
def test_run_whose_worker_is_gone_has_failed(status: Status) -> None:
    diagnosis = evaluate_run(seen(status), start_timeout_seconds=TIMEOUT_SECONDS)

    assert diagnosis.action is Action.FAIL
    assert diagnosis.seen == "process 4711 on host here worked on it and is gone"


def test_run_that_was_being_canceled_when_its_worker_died_is_canceled() -> None:
    assert decide(seen(Status.CANCELING)) is Action.CANCEL


@pytest.mark.parametrize("status", [*Status, None])
def test_run_whose_worker_lives_is_left_alone_whatever_its_status(status: Status | None) -> None:
    run = seen(
        status, life=Life.ALIVE, age_seconds=1e6, holds=(SILENT,), has_slots=True, has_loads=True
    )

    assert decide(run) is Action.NONE


@pytest.mark.parametrize(
    ("holds", "expected"),
    [((), Action.NONE), ((HELD,), Action.NONE), ((SILENT, HELD), Action.NONE),
     ((SILENT,), Action.FAIL)],
)  # fmt: skip
@pytest.mark.parametrize("stage", [Stage.WORKING, None])
def test_worker_elsewhere_is_judged_by_its_leases_alone(
    holds: tuple[Hold, ...], expected: Action, stage: Stage | None
) -> None:
    assert decide(seen(stage=stage, life=Life.UNKNOWN, age_seconds=1e6, holds=holds)) is expected


@pytest.mark.parametrize(
    ("stage", "life", "age_seconds", "expected"),
    [
        (Stage.LAUNCHING, Life.DEAD, 29.0, Action.NONE),
        (Stage.LAUNCHING, Life.DEAD, 31.0, Action.FAIL),
        (Stage.LAUNCHING, Life.ALIVE, 31.0, Action.NONE),
        (Stage.LAUNCHING, Life.ALIVE, 181.0, Action.FAIL),
        (Stage.LAUNCHING, Life.UNKNOWN, 179.0, Action.NONE),
        (Stage.LAUNCHING, Life.UNKNOWN, 181.0, Action.FAIL),
        (None, Life.UNKNOWN, 179.0, Action.NONE),
        (None, Life.UNKNOWN, 181.0, Action.FAIL),
        (Stage.WORKING, Life.UNKNOWN, 1e6, Action.NONE),
    ],
)
def test_starting_run_waits_for_its_worker_only_so_long(
    stage: Stage | None, life: Life, age_seconds: float, expected: Action
) -> None:
    assert decide(seen(Status.STARTING, stage, life, age_seconds=age_seconds)) is expected


def test_start_timeout_that_is_switched_off_ends_nothing() -> None:
    run = seen(Status.STARTING, None, Life.UNKNOWN, age_seconds=1e6)

    assert evaluate_run(run, start_timeout_seconds=0).action is Action.NONE


def test_run_that_its_dead_creator_was_to_execute_itself_has_failed() -> None:
    run = seen(Status.NOT_STARTED, Stage.CREATED)

    assert decide(replace(run, is_remote=False)) is Action.FAIL
    # What a daemon created, a daemon that is started again launches.
    assert decide(run) is Action.NONE


def test_started_run_is_not_judged_by_whoever_launched_it() -> None:
    assert decide(seen(Status.STARTED, Stage.LAUNCHING, age_seconds=1e6)) is Action.NONE


def test_queued_run_waits_as_long_as_it_must() -> None:
    assert decide(seen(Status.QUEUED, Stage.CREATED, age_seconds=1e6)) is Action.NONE


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.FAILURE, Status.CANCELED, None])
@pytest.mark.parametrize("left", [{"has_slots": True}, {"holds": (HELD,)}, {"has_loads": True}])
def test_ended_run_of_a_dead_worker_gives_back_what_it_has(
    status: Status | None, left: dict[str, object]
) -> None:
    assert decide(seen(status, **left)) is Action.RELEASE  # type: ignore[arg-type]


def test_ended_run_without_anything_left_is_left_alone() -> None:
    assert decide(seen(Status.SUCCESS)) is Action.NONE


@pytest.mark.parametrize(
    ("age_seconds", "holds", "expected"),
    [
        (29.0, (), Action.NONE),
        (31.0, (), Action.RELEASE),
        (1e6, (HELD,), Action.NONE),
        (1.0, (SILENT,), Action.RELEASE),
    ],
)
def test_ended_run_of_a_worker_elsewhere_gets_time_to_clean_up(
    age_seconds: float, holds: tuple[Hold, ...], expected: Action
) -> None:
    run = seen(
        Status.SUCCESS, life=Life.UNKNOWN, age_seconds=age_seconds, holds=holds, has_slots=True
    )

    assert decide(run) is expected
