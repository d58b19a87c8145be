"""Which files of a folder belong to a feed, and to which day."""

import re
from datetime import date
from pathlib import Path

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.market.date_formats import ROC_OFFSET_YEARS
from batch_assets.sources.market.feed import FileFeed, FileFormat

_DATE_FIELD = re.compile(r"\{date(?::(?P<format>[^{}]*))?\}")
_WILDCARD = re.compile(r"[*?\[]")


def has_date(files: str) -> bool:
    """Whether a pattern of files tells the day."""
    return _DATE_FIELD.search(files) is not None


def require_folder(feed: FileFeed) -> None:
    """Refuse to take a missing folder for a folder without files.

    Raises:
        SourceUnavailable: The folder is not there.
    """
    if not feed.folder.is_dir():
        raise SourceUnavailable(
            f"folder {feed.folder} of feed {feed.name} is not there, expected a folder with "
            f"{feed.files}; mount it, or correct `folder`"
        )


def find_day_files(feed: FileFeed, day: date) -> list[Path]:
    """Files of one day, sorted by name."""
    pattern = _DATE_FIELD.sub(lambda found: _spell(day, found["format"]), feed.files)
    if not _WILDCARD.search(pattern):
        path = feed.folder / pattern
        return [path] if _is_data(path) else []
    return sorted(path for path in feed.folder.glob(pattern) if _is_data(path))


def list_files(feed: FileFeed) -> list[Path]:
    """All files of the feed, sorted by name."""
    pattern = _DATE_FIELD.sub("*", feed.files)
    return sorted(path for path in feed.folder.glob(pattern) if _is_data(path))


def _is_data(path: Path) -> bool:
    # Hidden files are half-written ones, or the notes of editors and file managers.
    return path.is_file() and not path.name.startswith((".", "~$"))


def _spell(day: date, spelling: str | None) -> str:
    if not spelling:
        return day.isoformat()
    if spelling == "roc":
        return f"{day.year - ROC_OFFSET_YEARS}{day:%m%d}"
    return day.strftime(spelling)


def file_format(feed: FileFeed, name: str) -> FileFormat | None:
    """How a file is packed, by the feed or else by its name; None if the name does not say."""
    if feed.format is not None:
        return feed.format
    for pattern, found in _BY_NAME:
        if re.search(pattern, name, re.IGNORECASE):
            return found
    return None


_BY_NAME = (
    (r"\.gz$", FileFormat.CSV_GZ),
    (r"\.bz2$", FileFormat.CSV_BZ2),
    (r"\.xz$", FileFormat.CSV_XZ),
    (r"\.zst$", FileFormat.CSV_ZST),
    (r"\.zip$", FileFormat.ZIP),
    (r"\.(parquet|pq)$", FileFormat.PARQUET),
    (r"\.xls[xmb]?$", FileFormat.XLSX),
    (r"\.(csv|txt|tsv|dat)$", FileFormat.CSV),
)
