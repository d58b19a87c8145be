"""How a backfill's progress is told: a bar on a terminal, a line every ten seconds, or NDJSON."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from batch_assets.ops.backfills import documents, texts
from batch_assets.ops.backfills.follow import Pace
from batch_assets.ops.backfills.values import Backfill, PartitionError, Progress
from batch_assets.ops.language import Language

# Between two lines where no bar can be drawn: a log of CI stays readable.
LINE_EVERY_SECONDS = 10.0

Errors = Callable[[int], list[PartitionError]]
"""Reads the newest errors of a backfill."""


class Teller(Protocol):
    """Something that tells progress."""

    def started(self, backfill: Backfill, *, is_new: bool) -> None:
        """The request was taken, or is running already."""

    def moved(self, progress: Progress) -> None:
        """Another look was taken."""

    def ended(self, progress: Progress, errors: Sequence[PartitionError]) -> None:
        """Nothing more comes."""


def choose_teller(*, as_json: bool, language: Language, zone: ZoneInfo) -> Teller:
    """NDJSON if asked for, a bar on a terminal, else lines."""
    if as_json:
        return JsonTeller(zone)
    console = Console(stderr=True)
    if console.is_terminal:
        return BarTeller(console, language, zone)
    return LineTeller(language, zone)


class JsonTeller:
    """One JSON object a line on stdout; see ops/backfills/documents.py for their fields."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._pace = Pace(LINE_EVERY_SECONDS)
        self._done = -1

    def started(self, backfill: Backfill, *, is_new: bool) -> None:
        """`launched`, or `joined` where the same backfill was running."""
        self._write(
            "launched" if is_new else "joined",
            backfill=documents.backfill_document(backfill, self._zone),
        )

    def moved(self, progress: Progress) -> None:
        """`progress`, whenever partitions ended, and at least every ten seconds."""
        if self._pace.is_due(progress) or progress.done != self._done:
            self._done = progress.done
            self._write("progress", **documents.progress_document(progress, self._zone))

    def ended(self, progress: Progress, errors: Sequence[PartitionError]) -> None:
        """`error` for each partition that did not end well, then `ended`."""
        for error in errors:
            self._write("error", **documents.error_document(error, self._zone))
        self._write("ended", **documents.progress_document(progress, self._zone))

    def _write(self, kind: str, **fields: object) -> None:
        document = documents.event_document(kind, **fields)
        sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()


class LineTeller:
    """A plain line on stderr every ten seconds; the summary on stdout."""

    def __init__(self, language: Language, zone: ZoneInfo) -> None:
        self._language = language
        self._zone = zone
        self._pace = Pace(LINE_EVERY_SECONDS)

    def started(self, backfill: Backfill, *, is_new: bool) -> None:
        """The first line."""
        say_started(backfill, self._language, is_new=is_new)

    def moved(self, progress: Progress) -> None:
        """A line, if one is due."""
        if not progress.backfill.state.is_final and self._pace.is_due(progress):
            say("  ".join(_parts(progress, self._language, self._zone)))

    def ended(self, progress: Progress, errors: Sequence[PartitionError]) -> None:
        """The summary, and the newest errors."""
        tell_end(progress, errors, self._language)


class BarTeller:
    """A bar on the terminal's stderr; the summary on stdout."""

    def __init__(self, console: Console, language: Language, zone: ZoneInfo) -> None:
        self._language = language
        self._zone = zone
        self._bar = Bar(
            TextColumn("{task.fields[headline]}"),
            BarColumn(),
            TextColumn("{task.fields[details]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def started(self, backfill: Backfill, *, is_new: bool) -> None:
        """The first line, and an empty bar."""
        say_started(backfill, self._language, is_new=is_new)
        self._bar.start()
        self._task = self._bar.add_task(
            "", total=max(1, backfill.partitions), headline="", details=""
        )

    def moved(self, progress: Progress) -> None:
        """Move the bar."""
        if self._task is not None:
            headline, *rest = _parts(progress, self._language, self._zone)
            self._bar.update(
                self._task, completed=progress.done, headline=headline, details="  ".join(rest)
            )

    def ended(self, progress: Progress, errors: Sequence[PartitionError]) -> None:
        """Take the bar away; the summary, and the newest errors."""
        self._bar.stop()
        tell_end(progress, errors, self._language)


def tell_end(progress: Progress, errors: Sequence[PartitionError], language: Language) -> None:
    """The summary on stdout; errors and what to do about them on stderr."""
    backfill_id = progress.backfill.backfill_id
    is_over = progress.backfill.state.is_final
    sys.stdout.write(texts.headline(progress, language) + "\n" if is_over else "")
    if not is_over:
        say(texts.headline(progress, language))
    if progress.rows_read:
        say(ledger_text(progress))
    say_all(texts.error_lines(errors, language))
    if progress.backfill.problem:
        say(progress.backfill.problem)
    if is_over and errors:
        say(f"next: batch-assets errors {backfill_id}; batch-assets retry --failed {backfill_id}")


def ledger_text(progress: Progress) -> str:
    """Rows by outcome, as they balance."""
    return (
        f"{progress.rows_read} read = {progress.rows_inserted} inserted + "
        f"{progress.rows_updated} updated + {progress.rows_unchanged} unchanged + "
        f"{progress.rows_duplicate} duplicate + {progress.rows_rejected} rejected + "
        f"{progress.rows_skipped} skipped"
    )


def say_started(backfill: Backfill, language: Language, *, is_new: bool) -> None:
    """The first line; another one where nothing had to be launched."""
    say(texts.started_text(backfill, language))
    if not is_new:
        say(f"backfill {backfill.backfill_id} loads the same and is {backfill.phase}: joined it")


def say(text: str) -> None:
    """A line of talk."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_all(lines: Iterable[str]) -> None:
    """Lines of talk."""
    for line in lines:
        say(line)


def _parts(progress: Progress, language: Language, zone: ZoneInfo) -> list[str]:
    return [
        texts.headline(progress, language),
        texts.counts_text(progress, language),
        *texts.details(progress, language, zone),
    ]
