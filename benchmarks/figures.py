"""Figures of repetitions: medians with their spread, ratios of pairs, turns, and the table."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from benchmarks.measure import Sample, paired_ratios

_WayT = TypeVar("_WayT")


class Figures(dict[str, object]):
    """Flat figures; each median has its lowest and highest value beside it, as `..._spread`."""

    def add(self, name: str, values: Sequence[float] | Sample) -> None:
        """The median of a figure that was measured; nothing where it was not."""
        sample = values if isinstance(values, Sample) else Sample.of(values)
        if sample.values:
            self[name], self[f"{name}_spread"] = sample.median, sample.spread

    def add_ratio(self, name: str, slow: Sequence[float], fast: Sequence[float]) -> None:
        """How many times as fast the second is, repetition by repetition.

        Nothing where one was not measured: processor time is not, on a server that is not ours.
        """
        self.add(name, paired_ratios(slow, fast) if slow and fast and all(fast) else ())


def iter_turns(ways: Sequence[_WayT], repetitions: int) -> Iterator[tuple[bool, Sequence[_WayT]]]:
    """All ways once for each repetition, another one first each time; told on standard error.

    Yields:
        Whether the turn counts, and the ways in their order. The first turn does not: caches are
        filled and statements are planned in it.
    """
    for number in range(repetitions + 1):
        first = number % len(ways)
        print(f"turn {number + 1} of {repetitions + 1}", file=sys.stderr, flush=True)
        yield number > 0, (*ways[first:], *ways[:first])


def print_figures(figures: Mapping[str, object]) -> None:
    """One line a figure, with its spread beside it."""
    for name, value in figures.items():
        if name.endswith("_spread"):
            continue
        shown = f"{value:,.4g}" if isinstance(value, float) else str(value)
        spread = figures.get(f"{name}_spread")
        print(f"{name:44} {shown:>12}  {f'({spread})' if spread else ''}".rstrip())
