"""Backfills that never were: two runs at once, speeds that change, days passed over.

Seconds count from the start; what an estimate would see at any moment is cut from the story.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from batch_assets.runs.eta import PartitionTime, Remaining

START = datetime(2024, 10, 1, tzinfo=UTC)
FIRST_DAY = date(2024, 1, 1)
RUN_PARTITIONS = 30
LANES = 2
START_SECONDS = 6.0

# Seconds a partition takes, by its start in seconds and the share of all that is done.
Pace = Callable[[random.Random, float, float], float]


@dataclass(frozen=True, slots=True)
class Story:
    """What happened: every partition with its run, and when all was over."""

    partitions: tuple[PartitionTime, ...]
    ended_at: datetime

    def at(self, done: int) -> tuple[list[PartitionTime], Remaining]:
        """What is known when so many partitions have ended."""
        history = list(self.partitions[:done])
        now = history[-1].finished_at
        rest = self.partitions[done:]
        running = {item.key: item.started_at for item in rest if item.started_at <= now}
        keys = sorted(item.key for item in rest)
        return history, Remaining(keys, running, now)


def tell(rng: random.Random, days: int, pace: Pace, closed: set[int]) -> Story:
    """A backfill of so many days, at a pace; days of the week in `closed` have no session."""
    keys = [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(days)]
    queue = [keys[at : at + RUN_PARTITIONS] for at in range(0, days, RUN_PARTITIONS)]
    told: list[PartitionTime] = []
    clocks = [rng.uniform(0.0, 3.0) for _ in range(LANES)]
    work: list[list[str]] = [[] for _ in range(LANES)]
    names = [""] * LANES
    done = 0
    while queue or any(work):
        busy = [lane for lane in range(LANES) if work[lane] or queue]
        lane = min(busy, key=lambda number: clocks[number])
        if not work[lane]:
            work[lane] = queue.pop(0)
            names[lane] = f"run-{work[lane][0]}"
            clocks[lane] += START_SECONDS * rng.uniform(0.7, 1.5)
            continue
        key = work[lane].pop(0)
        is_open = date.fromisoformat(key).weekday() not in closed
        # One day in fifty is a holiday.
        is_skipped = not is_open or bool(closed and rng.random() < 0.02)
        begin = clocks[lane] + rng.uniform(0.02, 0.06)
        seconds = rng.uniform(0.02, 0.08) if is_skipped else pace(rng, begin, done / days)
        clocks[lane] = begin + seconds
        done += 1
        told.append(
            PartitionTime(
                key,
                "skipped" if is_skipped else "success",
                START + timedelta(seconds=begin),
                START + timedelta(seconds=clocks[lane]),
                names[lane],
            )
        )
    told.sort(key=lambda item: item.finished_at)
    # Dagster and the driver look every few seconds.
    return Story(tuple(told), told[-1].finished_at + timedelta(seconds=rng.uniform(3.0, 38.0)))


def noise(rng: random.Random, sigma: float = 0.3) -> float:
    return rng.lognormvariate(0.0, sigma)


def constant(rng: random.Random) -> Pace:
    seconds = rng.uniform(5.0, 40.0)
    return lambda r, _now, _share: seconds * noise(r)


def slowing(rng: random.Random) -> Pace:
    seconds, factor = rng.uniform(5.0, 30.0), rng.uniform(1.2, 3.0)
    return lambda r, _now, share: seconds * (1 + (factor - 1) * share) * noise(r)


def speeding_up(rng: random.Random) -> Pace:
    seconds, factor = rng.uniform(10.0, 60.0), rng.uniform(1.2, 3.0)
    return lambda r, _now, share: seconds / (1 + (factor - 1) * share) * noise(r)


def wandering(rng: random.Random) -> Pace:
    """The speed goes up and down by itself, as on a shared machine."""
    seconds = rng.uniform(5.0, 40.0)
    level = [0.0]

    def pace(r: random.Random, _now: float, _share: float) -> float:
        level[0] = 0.98 * level[0] + r.gauss(0.0, 0.08)
        return seconds * (2.718281828 ** level[0]) * noise(r, 0.25)

    return pace


def step_change(rng: random.Random) -> Pace:
    """The speed changes once, by up to two times either way."""
    seconds, at, factor = rng.uniform(5.0, 40.0), rng.uniform(0.0, 1.0), 2 ** rng.uniform(-1, 1)
    return lambda r, _now, share: seconds * (factor if share > at else 1.0) * noise(r)


def heavy_tails(rng: random.Random) -> Pace:
    seconds = rng.uniform(5.0, 20.0)

    def pace(r: random.Random, _now: float, _share: float) -> float:
        slow = r.uniform(5.0, 15.0) if r.random() < 0.03 else 1.0
        return seconds * noise(r, 0.7) * slow

    return pace


def rate_limited(rng: random.Random) -> Pace:
    """The vendor allows so many in each window of a minute or more, for both runs together."""
    seconds, window, allowed = rng.uniform(2.0, 8.0), rng.uniform(60.0, 120.0), rng.randint(6, 15)
    begun: dict[int, int] = {}

    def pace(r: random.Random, now: float, _share: float) -> float:
        number = int(now // window)
        while begun.get(number, 0) >= allowed:
            number += 1
        begun[number] = begun.get(number, 0) + 1
        return max(number * window - now, 0.0) + seconds * noise(r)

    return pace


def stalling(rng: random.Random) -> Pace:
    """In four of ten backfills the vendor is away once, for the time of two to ten partitions."""
    seconds = rng.uniform(5.0, 40.0)
    at = rng.random() if rng.random() < 0.4 else 2.0
    away = seconds * rng.uniform(2.0, 10.0)
    until = [0.0]

    def pace(r: random.Random, now: float, share: float) -> float:
        if share >= at and not until[0]:
            until[0] = now + away
        return max(until[0] - now, 0.0) + seconds * noise(r)

    return pace


REGIMES: dict[str, Callable[[random.Random], Pace]] = {
    "constant": constant,
    "slowing": slowing,
    "speeding up": speeding_up,
    "wandering": wandering,
    "step change": step_change,
    "heavy tails": heavy_tails,
    "rate limited": rate_limited,
    "stalling": stalling,
}


def backfills(regime: str, count: int, seed: int = 7) -> Iterator[Story]:
    """So many backfills of one regime, of 30 to 250 days; always the same ones for a seed."""
    rng = random.Random(f"{regime} {seed}")
    for number in range(count):
        closed = set() if number % 4 == 0 else {5, 6}
        yield tell(rng, rng.choice((30, 45, 60, 60, 90, 120, 250)), REGIMES[regime](rng), closed)
