"""Progress while the backfill runs: a bar on a terminal, else a line every ten seconds."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from batch_assets.ops.demo.outcome import DayOutcome

LINE_SECONDS = 10.0


class ShowProgress(Protocol):
    """Shows how far the days are."""

    def __call__(self, days: Sequence[DayOutcome], *, waiting_for: str) -> None:
        """Show these days; `waiting_for` says what the backfill does now."""


@contextmanager
def showing_progress(console: Console, total_days: int) -> Iterator[ShowProgress]:
    """Give a function that shows progress in the way this console can.

    Args:
        console: Where to; stderr, because the summary is what goes to stdout.
        total_days: Days asked for.
    """
    if console.is_terminal:
        with _bar(console, total_days) as show:
            yield show
    else:
        yield _lines(console, total_days)


def describe_days(days: Sequence[DayOutcome]) -> str:
    """Counts of ended days by what became of them, and the rows read."""
    counts = {
        name: sum(day.state == state for day in days)
        for name, state in (("done", "success"), ("failed", "failed"), ("skipped", "skipped"))
    }
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{shown}, {sum(day.read for day in days)} rows"


def _ended(days: Sequence[DayOutcome]) -> int:
    return sum(day.state != "running" for day in days)


@contextmanager
def _bar(console: Console, total_days: int) -> Iterator[ShowProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
    )
    # A bar that stays would be torn apart by the summary that follows.
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=total_days)

        def show(days: Sequence[DayOutcome], *, waiting_for: str) -> None:
            text = waiting_for if _ended(days) in (0, total_days) else describe_days(days)
            progress.update(task, completed=_ended(days), description=text)

        yield show


def _lines(console: Console, total_days: int) -> ShowProgress:
    shown_at = time.monotonic()

    def show(days: Sequence[DayOutcome], *, waiting_for: str) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at < LINE_SECONDS:
            return
        shown_at = time.monotonic()
        console.print(
            f"{_ended(days)} of {total_days} days: {describe_days(days)}; {waiting_for}",
            highlight=False,
            soft_wrap=True,
        )

    return show
