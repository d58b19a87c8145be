"""The landing folder: which files arrived on which day.

landing/2024-09-30/orders.xlsx    a folder says its day
landing/orders.xlsx               else the day on which the file was written last, UTC

Links are left out, and said: whoever may write here may not read what this process may.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArrivedFile:
    """A file of the landing folder.

    Attributes:
        day: When it arrived.
        changed_at: Seconds since 1970.
    """

    path: Path
    day: date
    size_bytes: int
    changed_at: float


def find_arrived(landing: Path, template: SpreadsheetTemplate) -> list[ArrivedFile]:
    """Files that a template takes, by day and name.

    Raises:
        SourceUnavailable: The folder is not there.
    """
    if not landing.is_dir():
        raise SourceUnavailable(
            f"landing folder {landing} is not there, expected a folder; create it, mount it, or "
            "correct landing in [spreadsheets]"
        )
    found = [item for item in _walk(landing) if template.matches(item.path.name)]
    return sorted(found, key=lambda item: (item.day, item.path.name))


def mark_of(files: Iterable[ArrivedFile]) -> str:
    """Identity of files as far as a look at the folder can tell; 16 hex digits."""
    text = "\n".join(f"{item.path} {item.size_bytes} {item.changed_at}" for item in files)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _walk(landing: Path) -> Iterator[ArrivedFile]:
    for entry in landing.iterdir():
        day = _day_of(entry.name)
        if day is not None and entry.is_dir() and not is_link(entry):
            yield from (_arrived(path, day) for path in entry.iterdir() if _is_file(path))
        elif _is_file(entry):
            yield _arrived(entry, None)


def is_link(path: Path) -> bool:
    """Whether it leads elsewhere; said in the log, since it would otherwise just be missing."""
    if not path.is_symlink():
        return False
    logger.warning("%r is a link and is left out; put a copy into the folder", path.name)
    return True


def _is_file(path: Path) -> bool:
    # `~$` is what Excel puts beside a workbook that is open.
    return path.is_file() and not path.name.startswith(("~$", ".")) and not is_link(path)


def _arrived(path: Path, day: date | None) -> ArrivedFile:
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime, UTC).date()
    return ArrivedFile(path, day or changed, status.st_size, status.st_mtime)


def _day_of(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None
