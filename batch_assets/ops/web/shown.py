"""How values look on a page: times, durations, numbers, bytes. Words come from texts.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from batch_assets.ops.backfills.values import Progress
from batch_assets.ops.display import time_text, zone_of
from batch_assets.ops.language import Language
from batch_assets.ops.web.texts import TEXTS
from batch_assets.settings import Settings

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as a person reads it.

    Attributes:
        iso: For machines.
        relative: `3 min ago`.
        absolute: `2024-09-30 16:25:30+08:00`.
    """

    iso: str
    relative: str
    absolute: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a progress bar; `x` and `width` in percent of it."""

    kind: str
    text: str
    count: int
    x: float
    width: float


class Shown:
    """Values in one language at one moment."""

    def __init__(self, settings: Settings, language: Language, now: datetime) -> None:
        self._settings = settings
        self._texts = TEXTS[language]
        self._now = now
        self._zones: dict[str | None, ZoneInfo] = {}

    def text(self, name: str, **values: object) -> str:
        """Words by their name."""
        return self._texts[name].format(**values)

    def moment(self, instant: datetime, feed: str | None = None) -> Moment:
        """A time in the zone of the display, or of a feed."""
        if feed not in self._zones:
            self._zones[feed] = zone_of(self._settings, feed)
        absolute = time_text(instant, self._zones[feed])
        return Moment(instant.isoformat(), self.relative(instant), absolute)

    def relative(self, instant: datetime) -> str:
        """`3 min ago`, `in 2 h`."""
        seconds = (self._now - instant).total_seconds()
        if -1 < seconds < 2:
            return self.text("just_now")
        name = "ago" if seconds > 0 else "ahead"
        return self.text(name, duration=self.duration(abs(seconds)))

    def duration(self, seconds: float) -> str:
        """`42 s`, `3 min 5 s`, `2 h 10 min`, `5 d`: two units where the second one matters."""
        whole = round(seconds)
        if whole < _MINUTE:
            return self.text("seconds", n=whole)
        if whole < 10 * _MINUTE and whole % _MINUTE:
            return f"{self._unit('minutes', whole // _MINUTE)} {self._unit('seconds', whole % 60)}"
        if whole < _HOUR:
            return self._unit("minutes", whole // _MINUTE)
        if whole < 10 * _HOUR and whole % _HOUR >= _MINUTE:
            minutes = whole % _HOUR // _MINUTE
            return f"{self._unit('hours', whole // _HOUR)} {self._unit('minutes', minutes)}"
        if whole < 2 * _DAY:
            return self._unit("hours", whole // _HOUR)
        return self._unit("days", whole // _DAY)

    def _unit(self, name: str, count: int) -> str:
        return self.text(name, n=count)

    def segments(self, progress: Progress) -> list[Segment]:
        """The bar of a backfill, from what ended well to what has not begun."""
        counts = (
            ("good", "succeeded", progress.success),
            ("part", "partial_days", progress.partial),
            ("bad", "failed", progress.failed),
            ("skip", "skipped", progress.skipped),
            ("open", "without_data", progress.not_ready + progress.unconfirmed_empty),
            ("work", "in_work", progress.running),
        )
        return list(self._laid_out(counts, progress.total))

    def _laid_out(self, counts: tuple[tuple[str, str, int], ...], total: int) -> Iterator[Segment]:
        x = 0.0
        for kind, name, count in counts:
            width = 100.0 * count / total if total else 0.0
            if count:
                yield Segment(kind, self.text(name), count, round(x, 3), round(width, 3))
            x += width

    def measured(self, metric: str, value: float) -> str:
        """A value of a metric in its unit, which the end of its name tells."""
        if metric.endswith("_seconds"):
            return self.duration(value)
        if metric.endswith("_ratio"):
            return f"{100 * value:.1f} %"
        return byte_text(value) if metric.endswith("_bytes") else number(value)


def words(text: str) -> Markup:
    """Words with what stands between backticks as code; everything is escaped."""
    parts = text.split("`")
    # A last backtick without a partner is a character like any other.
    is_paired = len(parts) % 2 == 1
    if not is_paired:
        parts[-2:] = ["`".join(parts[-2:])]
    shown = (
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )
    return Markup("").join(shown)


def number(value: float) -> str:
    """`1,234,567`; with digits after the point only where it is small."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def byte_text(count: float) -> str:
    """`3.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
