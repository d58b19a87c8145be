"""Processor time of a server whose processes end while they are looked at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import psutil

from benchmarks.measure import server_cpu_seconds


@dataclass(frozen=True)
class Times:
    """As psutil says them."""

    user: float
    system: float = 0.0
    children_user: float = 0.0
    children_system: float = 0.0


@dataclass
class Process:
    """A process with backends, of which one ends when another is looked at."""

    user: float
    ended: float = 0.0
    backends: list["Process"] = field(default_factory=list)
    when_looked_at: Callable[[], None] = lambda: None
    has_ended: bool = False

    def cpu_times(self) -> Times:
        if self.has_ended:
            raise psutil.NoSuchProcess(1)
        self.when_looked_at()
        return Times(self.user, children_user=self.ended)

    def children(self) -> list["Process"]:
        return list(self.backends)


def test_backend_that_ends_meanwhile_is_counted_once() -> None:
    first, second = Process(1.0), Process(2.0)
    postmaster = Process(0.5, ended=4.0, backends=[first, second])

    def end_second() -> None:
        if not second.has_ended:
            second.has_ended, postmaster.ended = True, postmaster.ended + second.user
            postmaster.backends.remove(second)

    first.when_looked_at = end_second

    assert server_cpu_seconds(cast(psutil.Process, postmaster)) == 0.5 + 4.0 + 1.0 + 2.0


def test_backend_that_ends_after_it_was_looked_at_is_counted_once() -> None:
    first, second = Process(1.0), Process(2.0)
    postmaster = Process(0.5, ended=4.0, backends=[first, second])

    def end_first() -> None:
        if not first.has_ended:
            first.has_ended, postmaster.ended = True, postmaster.ended + first.user
            postmaster.backends.remove(first)

    second.when_looked_at = end_first

    assert server_cpu_seconds(cast(psutil.Process, postmaster)) == 0.5 + 4.0 + 1.0 + 2.0


def test_server_that_is_elsewhere_has_no_time() -> None:
    assert server_cpu_seconds(None) == 0.0
