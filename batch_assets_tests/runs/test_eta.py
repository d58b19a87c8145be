"""Estimates against backfills that were simulated to their end: how often was the end later?"""

import resource
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch_assets.runs.eta import Earlier, Estimate, PartitionTime, Remaining, estimate
from batch_assets_tests.runs.simulated_backfills import (
    REGIMES,
    START,
    Story,
    backfills,
)


def at_every_tenth(story: Story) -> list[tuple[Estimate, Story]]:
    total = len(story.partitions)
    found = [estimate(*story.at(-(-total * tenth // 10))) for tenth in range(1, 10)]
    assert None not in found
    return [(item, story) for item in found if item is not None]


def measure(count: int, seed: int) -> dict[str, tuple[float, float]]:
    """Share of ends later than p50 and p90, by regime and for all of them."""
    seen: Counter[tuple[str, str]] = Counter()
    for regime in REGIMES:
        for story in backfills(regime, count, seed):
            for found, _ in at_every_tenth(story):
                for name in (regime, "all"):
                    seen[name, "n"] += 1
                    seen[name, "p50"] += story.ended_at > found.p50_at
                    seen[name, "p90"] += story.ended_at > found.p90_at
    shares = {
        name: (seen[name, "p50"] / seen[name, "n"], seen[name, "p90"] / seen[name, "n"])
        for name in (*REGIMES, "all")
    }
    for name, (p50, p90) in shares.items():
        total = seen[name, "n"]
        sys.stdout.write(f"{name:13} {total:5}: later than p50 {p50:.1%}, than p90 {p90:.1%}\n")
    return shares


@pytest.mark.long
def test_ends_are_as_often_later_as_the_estimates_say() -> None:
    shares = measure(count=12, seed=7)

    assert 0.35 <= shares["all"][0] <= 0.65
    assert shares["all"][1] <= 0.15
    # No regime is paid for by another one alone.
    assert all(0.2 <= p50 <= 0.7 and p90 <= 0.3 for p50, p90 in shares.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_ends_of_many_backfills_are_as_often_later_as_the_estimates_say(seed: int) -> None:
    shares = measure(count=80, seed=seed)

    assert 0.35 <= shares["all"][0] <= 0.65
    assert shares["all"][1] <= 0.15
    assert all(0.25 <= p50 <= 0.65 and p90 <= 0.25 for p50, p90 in shares.values())


def run(count: int, seconds: float, *, name: str = "a", first: int = 1) -> list[PartitionTime]:
    """A run whose partitions follow each other, each so many seconds."""
    step = timedelta(seconds=seconds)
    return [
        PartitionTime(f"{first + i:05}", "success", START + i * step, START + (i + 1) * step, name)
        for i in range(count)
    ]


def left(history: list[PartitionTime], keys: list[str], **changes: object) -> Remaining:
    now = max(item.finished_at for item in history)
    return Remaining(keys, {}, now, **changes)  # type: ignore[arg-type]


def seconds_of(found: Estimate | None, remaining: Remaining) -> tuple[float, float]:
    assert found is not None
    return (
        (found.p50_at - remaining.now).total_seconds(),
        (found.p90_at - remaining.now).total_seconds(),
    )


AT_ONCE = Earlier(closing_seconds=(0.0,))


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(0, 1e4), st.sampled_from("abc"), st.booleans()),
        min_size=3,
        max_size=40,
    ),
    count=st.integers(0, 400),
    most=st.none() | st.integers(1, 50),
    running=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_any_history_gives_an_end_that_is_not_past_and_the_same_twice(
    steps: list[tuple[float, float, str, bool]], count: int, most: int | None, running: int
) -> None:
    history = sorted(
        (
            PartitionTime(
                f"{number:05}",
                "skipped" if is_skipped else "success",
                START + timedelta(seconds=begin),
                START + timedelta(seconds=begin + seconds),
                name,
            )
            for number, (begin, seconds, name, is_skipped) in enumerate(steps)
        ),
        key=lambda item: item.finished_at,
    )
    keys = [f"{1000 + number:05}" for number in range(count)]
    now = history[-1].finished_at
    remaining = Remaining(keys, dict.fromkeys(keys[:running], now), now, run_partitions=most)

    found = estimate(history, remaining)

    assert found is not None
    assert now <= found.p50_at <= found.p90_at
    assert found == estimate(history, remaining)


@given(factor=st.floats(0.5, 100.0))
@settings(max_examples=20, deadline=None)
def test_a_backfill_that_takes_longer_per_partition_takes_longer_by_as_much(factor: float) -> None:
    keys = [f"{number:05}" for number in range(21, 41)]
    slow, usual = run(20, 10.0 * factor), run(20, 10.0)

    found = seconds_of(estimate(slow, left(slow, keys), AT_ONCE), left(slow, keys))
    expected = seconds_of(estimate(usual, left(usual, keys), AT_ONCE), left(usual, keys))

    assert found == pytest.approx([factor * item for item in expected], rel=1e-3)
    assert expected[0] == pytest.approx(200.0, rel=0.1)


def test_two_runs_at_once_take_half_and_the_last_run_is_alone() -> None:
    history = sorted(
        run(10, 10.0) + run(10, 10.0, name="b", first=21), key=lambda item: item.finished_at
    )
    both = [f"{number:05}" for number in (*range(11, 21), *range(31, 41))]
    one = [f"{number:05}" for number in range(31, 51)]

    half = seconds_of(estimate(history, left(history, both), AT_ONCE), left(history, both))
    whole = seconds_of(
        estimate(history, left(history, one, run_partitions=30), AT_ONCE), left(history, one)
    )

    assert half[0] == pytest.approx(100.0, rel=0.2)
    assert whole[0] == pytest.approx(200.0, rel=0.2)


def test_what_runs_of_before_a_pause_left_is_done_by_as_many_runs_as_ever_worked_at_once() -> None:
    later = timedelta(hours=1)
    after = [
        replace(item, started_at=item.started_at + later, finished_at=item.finished_at + later)
        for item in run(10, 10.0, name="b", first=31)
    ]
    history = run(10, 10.0) + after
    rest = left(history, [f"{number:05}" for number in (*range(11, 31), *range(41, 61))])

    p50, _ = seconds_of(estimate(history, rest, AT_ONCE), rest)

    assert p50 == pytest.approx(400.0, rel=0.15)


def test_days_of_the_week_that_were_passed_over_are_expected_to_be_again() -> None:
    story = next(iter(s for s in backfills("constant", 4) if s.partitions[5].state == "skipped"))
    total = len(story.partitions)
    history, remaining = story.at(total // 2)
    weekend = [key for key in remaining.keys if START.fromisoformat(key).weekday() >= 5]
    free = Remaining(weekend, {}, remaining.now)

    _, p90 = seconds_of(estimate(history, free, AT_ONCE), free)

    work = [i.finished_at - i.started_at for i in history if i.state == "success"]
    assert p90 < 2 * max(work).total_seconds()


def test_a_partition_that_hangs_moves_the_end_away() -> None:
    history = run(20, 10.0)
    now = history[-1].finished_at + timedelta(seconds=600)
    remaining = Remaining(["00021", "00022"], {"00021": history[-1].finished_at}, now)

    p50, p90 = seconds_of(estimate(history, remaining, AT_ONCE), remaining)

    assert p50 > 300
    assert p90 > 1200


def test_earlier_backfills_speak_first_and_are_soon_outweighed() -> None:
    earlier = Earlier(run(40, 30.0), closing_seconds=(0.0,))
    keys = [f"{number:05}" for number in range(41)]
    start = Remaining(keys, {}, START)
    history = run(20, 10.0)
    rest = left(history, keys[21:])

    assert estimate([], start) is None
    assert seconds_of(estimate([], start, earlier), start)[0] == pytest.approx(41 * 30, rel=0.15)
    assert seconds_of(estimate(history, rest, earlier), rest)[0] < 1.8 * 200


def test_a_thousand_partitions_at_once_end_as_the_longest_of_them() -> None:
    history = run(40, 10.0)
    keys = [f"{number:05}" for number in range(41, 1041)]
    now = max(item.finished_at for item in history)
    # Two seconds in: of the cycles of ten seconds, eight are left.
    running = dict.fromkeys(keys, now - timedelta(seconds=2))
    every = Remaining(keys, running, now)
    some = Remaining(keys[:30], dict(list(running.items())[:30]), now)

    of_all = seconds_of(estimate(history, every, AT_ONCE), every)
    of_some = seconds_of(estimate(history, some, AT_ONCE), some)

    # One cycle of twice the length is thought possible: the more partitions, the surer it is met.
    assert of_some[0] <= of_all[0] <= of_all[1] == pytest.approx(18.0, rel=0.01)


def test_a_look_costs_a_few_milliseconds() -> None:
    story = max(backfills("constant", 12), key=lambda item: len(item.partitions))
    history, remaining = story.at(len(story.partitions) // 2)
    estimate(history, remaining)

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_THREAD)
        estimate(history, remaining)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # Of the processor, and the best of many: other work on the machine only adds.
    assert min(once() for _ in range(20)) < 0.05
