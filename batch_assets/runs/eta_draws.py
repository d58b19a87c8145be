"""Draw how long the rest of a backfill takes, many times, and read off the middle and nine tenths.

Each draw has a speed of its own (as uncertain as the recent cycles leave it, with what it may
drift), cycles drawn from recent ones in blocks, its own share of days passed over, and the runs
that work now and those that wait for one of them to end. The generator has a fixed seed, so that
two looks at the same state give the same answer, and one a second later nearly the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from batch_assets.runs.eta import PartitionTime, Remaining
from batch_assets.runs.eta_cycles import (
    Cycles,
    measure_cycles,
    split_rest,
    start_seconds,
    weekday_of,
)

Draws = NDArray[np.float64]

_DRAWS = 400
_SEED = 20240930

# What is older says nothing more about days of the week and runs.
_NEWEST_PARTITIONS = 600
# Cycles beyond these are too old to tell the present speed.
_NEWEST_CYCLES = 160
# Earlier backfills weigh as much as so many cycles of this one.
_EARLIER_WEIGHT = 3.0
# A partition slower than all but so many is no usual one any more.
_OUTLASTED = 0.02
# So many runs at their last partition are drawn in one go: NumPy costs by the call.
_MANY_LANES = 32
# Cycles drawn for one run; the spread of longer ones is scaled up by the root of their number.
_DRAWN_CYCLES = 32
# Runs to come that are drawn one by one, for each that may work at once.
_DRAWN_RUNS = 4
# Slow cycles come together (a limit of the vendor, a busy server), so neighbours are drawn.
_BLOCK = 4
_UNSEEN_FACTOR = 2.0
_UNSEEN_WEIGHT = 0.08
# Monday is 0. Most exchanges are closed from here on; what was seen soon outweighs it.
_SATURDAY = 5
_WEEKEND_SHARE = 0.6
# Speed is never surer than that, as a deviation of its logarithm.
_LEAST_DRIFT = 0.16


def draw_seconds(
    history: Sequence[PartitionTime],
    remaining: Remaining,
    earlier: Sequence[PartitionTime],
    closing_seconds: Sequence[float],
) -> tuple[float, float]:
    """Seconds from now to the end: half of the draws, and nine tenths of them, end before."""
    rng = np.random.default_rng(_SEED)
    own = measure_cycles(history[-_NEWEST_PARTITIONS:])
    former = measure_cycles(earlier[-_NEWEST_PARTITIONS:])
    speed = _draw_speed(rng, own, former, len(remaining.keys))
    lanes = remaining.lanes or max(own.lanes, len(remaining.running_since), 1)
    if remaining.lanes is None and len(history) < lanes + 1:
        lanes = max(lanes, former.lanes)
    rest = split_rest(history, remaining, lanes)
    shares = _draw_skipped_shares(rng, own, former)
    skip_seconds = _mean(own.skipped) or _mean(former.skipped)
    start = start_seconds(own if own.starts else former)

    def draw_run(keys: list[str]) -> Draws:
        work = _draw_work(rng, keys, shares)
        elapsed = None
        since = remaining.running_since.get(keys[0]) if keys else None
        if since is not None:
            elapsed = max((remaining.now - since).total_seconds(), 0.0)
        return speed.draw_sum(rng, work, elapsed) + skip_seconds * (len(keys) - work)

    others, ends = rest.lanes, np.empty((0, _DRAWS))
    last = [keys[0] for keys in rest.lanes if len(keys) == 1]
    since = [remaining.running_since[key] for key in last if key in remaining.running_since]
    if len(since) > _MANY_LANES:
        others = [k for k in rest.lanes if len(k) != 1 or k[0] not in remaining.running_since]
        elapsed_seconds = [max((remaining.now - at).total_seconds(), 0.0) for at in since]
        ends = speed.draw_left_of_many(rng, np.asarray(elapsed_seconds))
    drawn = [draw_run(keys) if keys else np.zeros(_DRAWS) for keys in others]
    ends = np.concatenate([ends, np.stack(drawn)]) if drawn else ends
    rows = np.arange(_DRAWS)
    # Many runs are drawn a few together, which bounds the cost of a look.
    together = -(-len(rest.queue) // (_DRAWN_RUNS * min(lanes, _MANY_LANES)))
    for at in range(0, len(rest.queue), max(together, 1)):
        some = rest.queue[at : at + together]
        first = ends.argmin(axis=0)
        ends[first, rows] += start * len(some) + draw_run(list(chain.from_iterable(some)))
    seconds = ends.max(axis=0) + rng.choice(np.asarray(closing_seconds), _DRAWS)
    p50, p90 = np.quantile(seconds, (0.5, 0.9))
    return float(p50), float(max(p50, p90))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True, slots=True)
class _Speed:
    """Cycles at the present level, how probable each is, and the level of each draw."""

    cycles: Draws
    weights: Draws
    means: Draws
    factors: Draws

    def draw_sum(
        self, rng: np.random.Generator, work: NDArray[np.int64], elapsed: float | None
    ) -> Draws:
        """Seconds that so many cycles take, by draw; the first has lasted `elapsed` already."""
        first = np.zeros(_DRAWS)
        if elapsed is not None:
            first = self._draw_left(rng, elapsed)
            work = np.maximum(work - 1, 0)
        most = int(work.max())
        if not most:
            return first
        size = min(most, _DRAWN_CYCLES)
        blocks = -(-size // _BLOCK)
        starts = rng.choice(len(self.cycles), (_DRAWS, blocks), p=self.weights)
        offsets = np.arange(_BLOCK)
        chosen = np.minimum(np.abs(starts[:, :, None] - offsets), len(self.cycles) - 1)
        drawn = self.cycles[chosen].reshape(_DRAWS, -1)[:, :size]
        count = np.minimum(work, size)
        is_used = np.arange(size) < count[:, None]
        # The level is in the means; blocks reach further back, and are drawn for their spread.
        noise = ((drawn - drawn.mean()) * is_used).sum(axis=1)
        noise *= np.sqrt(work / np.maximum(count, 1))
        # A run takes some time however lucky: a tenth of what is expected.
        total = np.maximum(work * self.means + noise, 0.1 * work * self.means)
        return np.asarray(first + total * self.factors)

    def _draw_left(self, rng: np.random.Generator, elapsed: float) -> Draws:
        """Seconds until the partition being loaded ends."""
        longer = np.where(self.cycles > elapsed, self.weights, 0.0)
        chance = float(longer.sum())
        if chance <= _OUTLASTED:
            # One that outlasts its like: the longer it took, the longer it may still take.
            return np.asarray(elapsed * (1.0 / rng.uniform(0.1, 1.0, _DRAWS) - 1.0))
        return rng.choice(self.cycles, _DRAWS, p=longer / chance) - elapsed

    def draw_left_of_many(self, rng: np.random.Generator, elapsed: Draws) -> Draws:
        """As `_draw_left`, of many partitions at once: one row each."""
        order = np.argsort(self.cycles)
        cycles, reached = self.cycles[order], np.cumsum(self.weights[order])
        outlasted = np.searchsorted(cycles, elapsed, side="right")
        below = np.concatenate([[0.0], reached])[outlasted]
        lots = rng.uniform(size=(len(elapsed), _DRAWS))
        chosen = np.searchsorted(reached, below[:, None] + lots * (1.0 - below)[:, None])
        left = cycles[np.minimum(chosen, len(cycles) - 1)] - elapsed[:, None]
        strange = 1.0 - below <= _OUTLASTED
        left[strange] = elapsed[strange, None] * (1.0 / (0.1 + 0.9 * lots[strange]) - 1.0)
        return np.asarray(left)


def _draw_speed(rng: np.random.Generator, own: Cycles, former: Cycles, left: int) -> _Speed:
    work = np.asarray(own.work[-_NEWEST_CYCLES:], dtype=np.float64)
    before = np.asarray(former.work[-_NEWEST_CYCLES:], dtype=np.float64)
    count = len(work)
    slope, slope_error, wander, spread = _measure_trend(work)
    ages = np.arange(count)[::-1]
    # The wilder the cycles, the more of them it takes to tell their level.
    half_life = max(6.0, count / 3.0) * (1.0 + 4.0 * max(0.0, spread - 0.4))
    weights = 0.5 ** (ages / half_life)
    present = work * np.exp(np.clip(slope * ages, -1.5, 1.5))
    if len(before):
        present = np.concatenate([before, present])
        share = _EARLIER_WEIGHT / len(before)
        weights = np.concatenate([np.full(len(before), share), weights])
    if not len(present):
        present, weights = np.zeros(1), np.ones(1)
    # One cycle slower than any seen: what is rare has mostly not happened yet.
    present = np.append(present, _UNSEEN_FACTOR * present.max())
    weights = np.append(weights, _UNSEEN_WEIGHT)
    weights = weights / weights.sum()
    # The Bayesian bootstrap of the level: each cycle counts as much as chance lets it.
    lots = weights * rng.standard_exponential((_DRAWS, len(present)))
    means = lots @ present / lots.sum(axis=1)
    ahead = min(left, max(count, 1))
    slopes = slope + slope_error * rng.standard_normal(_DRAWS)
    variance = wander * min(left, 2 * count) / 3.0 + _LEAST_DRIFT**2
    # Of few cycles nobody knows yet how their level moves.
    variance += 1.0 / max(count, 2) ** 1.5
    deviation = np.sqrt(variance)
    drift = np.clip(slopes * ahead / 2.0 + deviation * rng.standard_normal(_DRAWS), -1.5, 1.5)
    return _Speed(present, weights, means, np.exp(drift))


def _measure_trend(work: Draws) -> tuple[float, float, float, float]:
    """Slope of the logarithm, its error, variance it wanders by per cycle, and its deviation."""
    count = len(work)
    if count < 6:
        return 0.0, 0.0, 0.0, 0.0
    logs = np.log(np.maximum(work, 1e-3))
    places = np.arange(count) - (count - 1) / 2.0
    spread = float(places @ places)
    slope = float(places @ logs / spread)
    rest = logs - logs.mean() - slope * places
    error = float(np.sqrt(rest @ rest / (count - 2) / spread))
    if error > 0:
        # Shrunk towards none, unless it stands out from the noise.
        slope *= max(0.0, 1.0 - (1.0 * error / slope) ** 2) if slope else 0.0
    size = max(4, count // 8)
    blocks = len(rest) // size
    wander = 0.0
    if blocks >= 3:
        means = rest[-blocks * size :].reshape(blocks, size).mean(axis=1)
        noise = float(rest @ rest) / count / size
        steps = float(np.mean(np.diff(means) ** 2)) / 2.0
        wander = max(0.0, steps - noise) * 2.0 / size
    return slope, min(error, 0.02), wander, float(np.sqrt(rest @ rest / count))


def _draw_skipped_shares(
    rng: np.random.Generator, own: Cycles, former: Cycles
) -> dict[int | None, Draws]:
    """Share of partitions that are passed over, by day of the week; None is for other keys."""
    seen: Counter[int | None] = Counter()
    skipped: Counter[int | None] = Counter()
    for cycles in (own, former):
        for day, (passed, total) in cycles.by_weekday.items():
            seen[day] += total
            skipped[day] += passed
    workdays = [day for day in seen if day is None or day < _SATURDAY]
    usual = sum(skipped[day] for day in workdays) / max(sum(seen[day] for day in workdays), 1)
    usual = min(max(usual, 0.01), 0.99)

    def draw(day: int | None) -> Draws:
        share = _WEEKEND_SHARE if day is not None and day >= _SATURDAY else usual
        return rng.beta(skipped[day] + share, seen[day] - skipped[day] + 1 - share, _DRAWS)

    return {day: draw(day) for day in (*range(7), None)}


def _draw_work(
    rng: np.random.Generator, keys: list[str], shares: dict[int | None, Draws]
) -> NDArray[np.int64]:
    """How many of the partitions are work, by draw."""
    days = Counter(weekday_of(key) for key in keys)
    work = np.zeros(_DRAWS, dtype=np.int64)
    for day, count in sorted(days.items(), key=str):
        work += rng.binomial(count, 1.0 - shares[day])
    return work
