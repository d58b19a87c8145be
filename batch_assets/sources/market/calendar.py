"""Sessions of an exchange: the user's file, the source's own, exchange-calendars, then unknown.

Closes and time zones are in exchanges.py, because they are settings of a feed.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from batch_assets.errors import ConfigurationError
from batch_assets.sources.market.exchanges import ALWAYS_OPEN

# Calendars without a first day are rules; before this they are guesses.
_UNBOUNDED_START = "1970-01-01"
_OPEN = frozenset({"open", "1", "true", "yes"})
_CLOSED = frozenset({"closed", "0", "false", "no"})


@dataclass(frozen=True, slots=True)
class SessionCalendar:
    """Which days are sessions.

    Attributes:
        name: Calendar and version, stored with each load (`XSHG exchange-calendars 4.13.2`).
        sessions: Session dates within [first, last].
        first: First date the calendar covers; None for none.
        last: Last date the calendar covers.
        stated: Days that the user's file or the source states, which win.
        is_always_open: Every day is a session.
    """

    name: str
    sessions: frozenset[date] = frozenset()
    first: date | None = None
    last: date | None = None
    stated: Mapping[date, bool] = field(default_factory=dict)
    is_always_open: bool = False

    def is_session(self, day: date) -> bool | None:
        """Whether the exchange was open; None where nobody says."""
        if day in self.stated:
            return self.stated[day]
        if self.is_always_open:
            return True
        if self.first is None or self.last is None or not self.first <= day <= self.last:
            return None
        return day in self.sessions

    def with_days_of(self, source: str, days: Mapping[date, bool]) -> "SessionCalendar":
        """The same with what a source says about its own days; the user's file stays above it."""
        stated = {**days, **self.stated}
        return replace(self, name=f"{self.name} + {source}", stated=stated)

    def previous_session(self, day: date) -> date | None:
        """The session before a day, None where the calendar does not reach back."""
        for back in range(1, 30):
            earlier = day - timedelta(days=back)
            is_open = self.is_session(earlier)
            if is_open is None:
                return None
            if is_open:
                return earlier
        return None


def open_calendar(
    name: str, cache_dir: Path, *, today: date, user_file: Path | None = None
) -> SessionCalendar:
    """The calendar of an exchange.

    Args:
        name: A name of exchange-calendars, or `24/7`; another name has only the user's days.
        cache_dir: Folder for sessions already computed; importing exchange-calendars takes
            3 seconds, reading them back 3 milliseconds.
        today: Decides whether a calendar that ends soon is computed again.
        user_file: Lines `YYYY-MM-DD,open|closed[,note]`; `#` begins a comment.

    Raises:
        ConfigurationError: The user's file cannot be read.
    """
    stated = read_user_days(user_file) if user_file else {}
    suffix = f" + {user_file.name}" if user_file else ""
    if name == ALWAYS_OPEN:
        return SessionCalendar(f"{name}{suffix}", stated=stated, is_always_open=True)
    version = _package_version()
    cached = cache_dir / "calendars" / f"{name}-{version}.json"
    known = _read_cached(str(cached), _modified_ns(cached))
    if known is None or (known.built_on < today and known.last < today + timedelta(days=30)):
        known = _compute(name, today)
        _write_atomically(cached, known.as_json())
    return SessionCalendar(
        name=f"{name} exchange-calendars {version}{suffix}",
        sessions=known.sessions,
        first=known.first,
        last=known.last,
        stated=stated,
    )


def read_user_days(path: Path) -> dict[date, bool]:
    """Days a user's calendar file states.

    Raises:
        ConfigurationError: Names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"calendar file {path} cannot be read ({error}); expected lines YYYY-MM-DD,open|closed"
        ) from error
    days: dict[date, bool] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text and not (number == 1 and not text[0].isdigit()):
            days.update([_user_day(path, number, text)])
    return days


def _user_day(path: Path, number: int, text: str) -> tuple[date, bool]:
    fields = [part.strip().casefold() for part in text.split(",")]
    state = fields[1] if len(fields) > 1 else ""
    try:
        day = date.fromisoformat(fields[0])
    except ValueError:
        state = ""  # told below, with the line
        day = date.min
    if state not in _OPEN | _CLOSED:
        raise ConfigurationError(
            f"{path}, line {number}: {text!r}, expected YYYY-MM-DD,open or YYYY-MM-DD,closed; "
            "correct the line"
        )
    return day, state in _OPEN


@dataclass(frozen=True, slots=True)
class _Computed:
    first: date
    last: date
    built_on: date
    sessions: frozenset[date]

    def as_json(self) -> str:
        return json.dumps(
            {
                "first": self.first.isoformat(),
                "last": self.last.isoformat(),
                "built_on": self.built_on.isoformat(),
                "sessions": [day.isoformat() for day in sorted(self.sessions)],
            }
        )


def _compute(name: str, today: date) -> _Computed:
    # Imported here: it costs 3 seconds, and most processes find the sessions in the cache.
    import exchange_calendars

    with warnings.catch_warnings():
        # The package uses parts of pandas that pandas means to change; not the reader's concern.
        warnings.simplefilter("ignore")
        try:
            start = exchange_calendars.get_calendar(name).bound_min()
        except exchange_calendars.errors.InvalidCalendarName:
            # A calendar of the user's own: nothing is known but what the file states.
            return _Computed(date.max, date.min, today, frozenset())
        calendar = exchange_calendars.get_calendar(name, start=start or _UNBOUNDED_START)
    return _Computed(
        first=calendar.first_session.date() if start is None else start.date(),
        # Not the bound: a calendar is computed one year ahead, and silent beyond it.
        last=calendar.last_session.date(),
        built_on=today,
        sessions=frozenset(session.date() for session in calendar.sessions),
    )


@lru_cache(maxsize=1)
def _package_version() -> str:
    return metadata.version("exchange-calendars")


@lru_cache(maxsize=32)
def _read_cached(path: str, modified_ns: int | None) -> _Computed | None:
    if modified_ns is None:
        return None
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        return _Computed(
            first=date.fromisoformat(stored["first"]),
            last=date.fromisoformat(stored["last"]),
            built_on=date.fromisoformat(stored["built_on"]),
            sessions=frozenset(map(date.fromisoformat, stored["sessions"])),
        )
    except (OSError, ValueError, KeyError):
        return None  # not written by us: computed again


def _modified_ns(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).replace(path)
