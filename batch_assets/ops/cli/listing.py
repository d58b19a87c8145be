"""Tables of backfills, and their renewal on a terminal."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from batch_assets.ops.backfills import documents, texts
from batch_assets.ops.backfills.read import (
    list_backfills,
    list_paused_feeds,
    read_audit,
    read_backfill,
    read_errors,
    read_progress,
)
from batch_assets.ops.backfills.values import Backfill, Progress
from batch_assets.ops.display import language_of, time_text, zone_of
from batch_assets.ops.language import Language
from batch_assets.runs.eta_records import KeptEstimates, read_accuracy
from batch_assets.settings import Settings

# Unfinished backfills are few; this only keeps a page from growing without bound.
_SHOWN = 100


class StatusView:
    """What `status` shows: one backfill, or all that have not ended."""

    def __init__(
        self, settings: Settings, number: int | None, lang: Language | None, *, as_json: bool
    ) -> None:
        self._settings = settings
        self._number = number
        self._language = language_of(settings, lang)
        self._as_json = as_json
        self._zones: dict[str, ZoneInfo] = {}
        self._estimates = KeptEstimates()

    def show(self, conn: psycopg.Connection) -> None:
        """Print it once."""
        looked = self._look(conn)
        if self._as_json:
            self._print_json(looked)
        else:
            console = Console()
            # In a pipe or a file a line stays a line.
            console.print(self._render(conn, looked), soft_wrap=not console.is_terminal)

    def watch(
        self, conn: psycopg.Connection, stop: threading.Event, *, every_seconds: float
    ) -> None:
        """Renew it until `stop` is set, or the one backfill it shows has ended."""
        console = Console()
        if self._as_json or not console.is_terminal:
            while not stop.wait(every_seconds) and not self._is_over(conn):
                self.show(conn)
            return
        # Drawn when something was looked up, and not in between: a redraw costs more than a look.
        with Live(console=console, auto_refresh=False) as live:
            while not self._is_over(conn):
                live.update(self._render(conn, self._look(conn)), refresh=True)
                if stop.wait(every_seconds):
                    break

    def _is_over(self, conn: psycopg.Connection) -> bool:
        if self._number is None:
            return False
        is_over = read_backfill(conn, self._number).state.is_final
        conn.rollback()
        return is_over

    def _look(self, conn: psycopg.Connection) -> list[Progress]:
        if self._number is not None:
            numbers = [self._number]
        else:
            unfinished = list_backfills(conn, is_unfinished=True, limit=_SHOWN)
            numbers = [item.backfill_id for item in unfinished]
        now = datetime.now(UTC)
        looked = [read_progress(conn, number, now, self._estimates) for number in numbers]
        conn.rollback()
        return looked

    def _print_json(self, looked: Sequence[Progress]) -> None:
        for progress in looked:
            zone = self._zone(progress.backfill)
            document = documents.event_document(
                "progress", **documents.progress_document(progress, zone)
            )
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def _render(self, conn: psycopg.Connection, looked: Sequence[Progress]) -> RenderableType:
        parts: list[RenderableType] = [
            Text("\n".join(self._lines(conn, progress))) for progress in looked
        ]
        paused = list_paused_feeds(conn)
        accuracy = read_accuracy(conn)
        conn.rollback()
        if accuracy is not None and any(progress.eta is not None for progress in looked):
            parts.append(Text(texts.accuracy_text(accuracy, self._language)))
        parts += [
            Text(f"feed {feed} is paused by {who} since {time_text(since, self._zone_of(feed))}")
            for feed, who, since in paused
        ]
        return Group(*parts) if parts else Text("no backfill runs")

    def _lines(self, conn: psycopg.Connection, progress: Progress) -> Iterator[str]:
        backfill, zone = progress.backfill, self._zone(progress.backfill)
        yield (
            f"{backfill.backfill_id}  {backfill.feed}  {backfill.first_key} - {backfill.last_key}  "
            f"{backfill.phase}  {time_text(backfill.requested_at, zone)}  {backfill.requested_by}"
        )
        yield f"  {texts.headline(progress, self._language)}"
        yield f"  {texts.counts_text(progress, self._language)}"
        for line in texts.details(progress, self._language, zone):
            yield f"  {line}"
        if backfill.problem:
            yield f"  {backfill.problem}"
        if progress.failed or progress.partial:
            errors = read_errors(conn, backfill.backfill_id, limit=texts.QUOTED_ERRORS).errors
            for line in texts.error_lines(errors, self._language):
                yield f"  {line}"

    def _zone(self, backfill: Backfill) -> ZoneInfo:
        return self._zone_of(backfill.feed)

    def _zone_of(self, feed: str) -> ZoneInfo:
        if feed not in self._zones:
            self._zones[feed] = zone_of(self._settings, feed)
        return self._zones[feed]


def print_backfills(
    conn: psycopg.Connection,
    settings: Settings,
    *,
    feed: str | None,
    before_id: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Backfills, newest first."""
    found = list_backfills(conn, feed=feed, before_id=before_id, limit=limit)
    zones = {item.feed: zone_of(settings, item.feed) for item in found}
    if as_json:
        for item in found:
            document = documents.backfill_document(item, zones[item.feed])
            line = documents.event_document("backfill", **document)
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        return
    table = Table("number", "feed", "from", "to", "days", "state", "asked at", "ended at", "by")
    for column in table.columns:
        column.overflow = "fold"
    for item in found:
        table.add_row(
            str(item.backfill_id),
            item.feed,
            item.first_key,
            item.last_key,
            str(item.partitions),
            item.phase + (f", retry of {item.retry_of}" if item.retry_of else ""),
            time_text(item.requested_at, zones[item.feed]),
            time_text(item.ended_at, zones[item.feed]) if item.ended_at else "",
            item.requested_by,
        )
    Console().print(table)
    accuracy = read_accuracy(conn, feed)
    if accuracy is not None:
        sys.stderr.write(f"{texts.accuracy_text(accuracy, language_of(settings, None))}\n")


def print_audit(
    conn: psycopg.Connection, settings: Settings, number: int, *, as_json: bool
) -> None:
    """Who did what to one backfill, newest first."""
    zone = zone_of(settings, read_backfill(conn, number).feed)
    table = Table("when", "who", "what", "detail")
    for entry in read_audit(conn, action="backfill.", subject=str(number), limit=None):
        when = time_text(entry.happened_at, zone)
        detail = json.dumps(entry.detail, ensure_ascii=False) if entry.detail else ""
        if as_json:
            line = documents.event_document(
                "audit", at=when, actor=entry.actor, action=entry.action, detail=entry.detail
            )
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        table.add_row(when, entry.actor, entry.action, detail)
    if not as_json:
        Console().print(table)
