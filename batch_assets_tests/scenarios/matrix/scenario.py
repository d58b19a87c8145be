"""Scenarios: fault x way of running x executor; all of them, or a sample."""

import itertools
from dataclasses import dataclass

from batch_assets_tests.scenarios.matrix.faults import BY_NAME, FAULTS, Fault

# What `pytest -m crash` runs. A scenario costs 20 s of a free core, under the multiprocess executor
# twice that, and a daemon a minute more; most are left to the soak, and to test_crash_runs.py.
SAMPLED = {
    "kill publish.before_lease": "in_process",
    "kill copy.after_buffer": "in_process",
    "kill merge.after_staging": "in_process",
    "kill merge.before_insert": "in_process",
    "answer of a commit lost": "in_process",
    "deadlock": "in_process",
    "restart fast mid COPY": "in_process",
    "disk full": "multiprocess",
}


@dataclass(frozen=True)
class Scenario:
    """One cell of the matrix."""

    fault: Fault
    way: str
    executor: str

    @property
    def name(self) -> str:
        return f"{self.fault.name} / {self.way} / {self.executor}"


def all_scenarios() -> list[Scenario]:
    """Every combination that makes sense."""
    return [
        Scenario(fault, way, executor)
        for fault in FAULTS
        for way, executor in itertools.product(fault.ways, fault.executors)
    ]


def sample() -> list[Scenario]:
    """The scenarios of `pytest -m crash`."""
    return [Scenario(BY_NAME[name], "job execute", executor) for name, executor in SAMPLED.items()]
