"""The catalogue of faults: how each is injected, and what must hold beside the invariants.

An injector starts the faulty run and brings it to its end, and fails unless the fault really
happened. What follows - recovery, invariants - is the same for all and is in running.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batch_assets_tests.scenarios.matrix import (
    faults_of_processes,
    faults_of_the_database,
    faults_of_the_surroundings,
)
from batch_assets_tests.scenarios.matrix.world import World

Inject = Callable[[World], None]
BOTH_EXECUTORS = ("in_process", "multiprocess")
BOTH_WAYS = ("job execute", "daemon backfill")


@dataclass(frozen=True)
class Fault:
    """One line of the matrix.

    Attributes:
        code: As in the fault matrix: K for kills, P for the server, N for the network ...
        injected: In words, for the table of docs/reliability.md.
        must_hold: Beside the invariants.
        failpoints: Places in the code that fire, in this very scenario.
        missing: Says what this machine lacks for it; nothing, usually.
    """

    name: str
    code: str
    injected: str
    must_hold: str
    inject: Inject
    failpoints: tuple[str, ...] = ()
    ways: tuple[str, ...] = BOTH_WAYS
    missing: Callable[[], str] = str
    executors: tuple[str, ...] = BOTH_EXECUTORS


# Code and words of each place where a step is killed.
_KILLS: Mapping[str, tuple[str, str]] = {
    "publish.before_lease": ("K1", "before it claims a day"),
    "publish.after_lease": ("K1", "right after it has claimed a day"),
    "read.after_batch": ("K2", "in the middle of reading"),
    "copy.after_buffer": ("K3", "in the middle of COPY"),
    "merge.after_staging": ("K4", "after COPY, before the merge"),
    "stage.after_copy": ("K4", "after COPY of a staged chunk"),
    "merge.before_insert": ("K5", "inside the merge"),
    "publish.after_copy": ("K5", "in the publishing transaction"),
    "publish.before_commit": ("K5", "right before the publishing commit"),
    "publish.after_commit": ("K6", "after the commit, before its event"),
    "run.before_event": ("K6", "before the materialisation event"),
    "dead_letters.after_write": ("K7", "while dead letters are written"),
    "checkpoint.after_write": ("K8", "while a checkpoint is written"),
    "stage.before_commit": ("K8", "right before a chunk is committed"),
    "stage.after_commit": ("K8", "right after a chunk is committed"),
}


def _kill(failpoint: str, code: str, where: str) -> Fault:
    return Fault(
        name=f"kill {failpoint}",
        code=code,
        injected=f"SIGKILL of the process of the step {where}",
        must_hold="the next run completes; at most a chunk is read again",
        inject=faults_of_processes.killing(failpoint),
        failpoints=(failpoint,),
    )


FAULTS: tuple[Fault, ...] = (
    *(_kill(failpoint, code, where) for failpoint, (code, where) in _KILLS.items()),
    *(Fault(**each) for each in faults_of_processes.CATALOGUE),
    *(Fault(**each) for each in faults_of_the_database.CATALOGUE),
    *(Fault(**each) for each in faults_of_the_surroundings.CATALOGUE),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
