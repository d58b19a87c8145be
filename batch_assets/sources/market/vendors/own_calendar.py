"""What a vendor says about its own sessions, for dates that no other calendar covers.

Asked a year at a time and kept on disk: Shanghai's calendar of exchange-calendars ends each
December until its next release, and the vendor's does not.
"""

import json
import logging
import os
from datetime import date, datetime, timedelta
from pathlib import Path

from batch_assets.errors import BatchAssetsError
from batch_assets.sources.market.vendors.vendor import ListsSessions

_log = logging.getLogger(__name__)

# Exchanges change announced days now and then, and a year is announced in its December.
_KEPT = timedelta(days=1)


class OwnCalendar:
    """The sessions of one vendor, by year."""

    def __init__(self, vendor: object, folder: Path) -> None:
        self._vendor = vendor if isinstance(vendor, ListsSessions) else None
        self._folder = folder
        self._years: dict[int, dict[date, bool]] = {}

    def days_around(self, day: date, *, now: datetime) -> dict[date, bool]:
        """What the vendor says about the days of a year; nothing where it cannot be asked."""
        if self._vendor is None:
            return {}
        if day.year not in self._years:
            self._years[day.year] = self._read(day.year, now) or self._fetch(day.year, now)
        return self._years[day.year]

    def _path(self, year: int) -> Path:
        return self._folder / f"sessions-{year}.json"

    def _read(self, year: int, now: datetime) -> dict[date, bool]:
        try:
            stored = json.loads(self._path(year).read_text("utf-8"))
            fetched_at = datetime.fromisoformat(stored["fetched_at"])
            days = {date.fromisoformat(day): bool(is_open) for day, is_open in stored["days"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # not there, or not written by us: asked again
        return days if timedelta(0) <= now - fetched_at < _KEPT else {}

    def _fetch(self, year: int, now: datetime) -> dict[date, bool]:
        assert self._vendor is not None  # noqa: S101 - for the type checker
        try:
            days = self._vendor.fetch_sessions(date(year, 1, 1), date(year, 12, 31))
        except BatchAssetsError as error:
            # Not knowing is a state of its own; the question for the day's rows comes next, and
            # its failure is the one that counts.
            _log.warning("the vendor's calendar is not known", extra={"reason": str(error)})
            return {}
        self._folder.mkdir(parents=True, exist_ok=True)
        stored = [[day.isoformat(), is_open] for day, is_open in sorted(days.items())]
        body = json.dumps({"fetched_at": now.isoformat(), "days": stored})
        unfinished = self._path(year).with_suffix(f".{os.getpid()}")
        unfinished.write_text(body, "utf-8")
        unfinished.replace(self._path(year))
        return days
