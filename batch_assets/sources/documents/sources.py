"""One `[documents.sources.<name>]` of batch_assets.toml: a landing folder and how it is read.

Only what a person writes is here. Listing a folder belongs in landing_folder.py, what was seen in
it in landing.py.
"""

import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, describe_validation
from batch_assets.sources.documents.limits import ParseLimits

# Half-written files of browsers, rsync, FTP servers and Office, and what systems leave behind.
_EXCLUDED = (
    ".*",
    "~$*",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*.tmp",
    "*.temp",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX",
)

_FOLDER_DAY = r"(?<!\d)(?P<year>\d{4})[-_./]?(?P<month>\d{2})[-_./]?(?P<day>\d{2})(?!\d)"


class ArrivalDay(StrEnum):
    """Where the arrival day of a file is read: in its folder's path, or from its time of change."""

    FOLDER = "folder"
    MTIME = "mtime"


class DeletedPolicy(StrEnum):
    """What becomes of a document whose file is no longer in the folder.

    MARK keeps it and leaves it out of searches, KEEP takes no notice, REMOVE deletes its text.
    """

    MARK = "mark"
    KEEP = "keep"
    REMOVE = "remove"


class DocumentLimits(BaseModel):
    """`[documents.sources.<name>.limits]`: bounds of one file; see sources/documents/limits.py."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_file_bytes: int = Field(default=ParseLimits().max_file_bytes, ge=1)
    max_expanded_bytes: int = Field(default=ParseLimits().max_expanded_bytes, ge=1)
    max_expansion_ratio: int = Field(default=ParseLimits().max_expansion_ratio, ge=1)
    max_entries: int = Field(default=ParseLimits().max_entries, ge=1)
    max_pages: int = Field(default=ParseLimits().max_pages, ge=1)
    max_sheet_cells: int = Field(default=ParseLimits().max_sheet_cells, ge=1)
    max_attachments: int = Field(default=ParseLimits().max_attachments, ge=0)
    max_mail_depth: int = Field(default=ParseLimits().max_mail_depth, ge=0)
    max_text_characters: int = Field(default=ParseLimits().max_text_characters, ge=1)

    def as_parse_limits(self) -> ParseLimits:
        """The same for a parser."""
        return ParseLimits(**self.model_dump())


class DocumentSource(BaseModel):
    """What one landing folder is, as its section of the configuration says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", description="small letters, digits, _")
    url: str = Field(min_length=1, description="a folder, or a URL that fsspec knows")
    storage_options: Mapping[str, Any] = Field(default_factory=dict, description="for fsspec")
    day: ArrivalDay = ArrivalDay.MTIME
    day_pattern: str = Field(default=_FOLDER_DAY, description="groups year, month, day")
    first_day: date = date(2000, 1, 1)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = _EXCLUDED
    deleted: DeletedPolicy = DeletedPolicy.MARK
    settle_seconds: float = Field(default=5.0, ge=0, le=86_400)
    files_per_scan: int = Field(default=200_000, ge=1)
    seconds_per_scan: float = Field(default=3.0, gt=0)
    chunk_characters: int = Field(default=1_200, ge=100, le=8_000)
    overlap_characters: int = Field(default=150, ge=0)
    parse_timeout_seconds: float = Field(default=60.0, gt=0)
    parse_memory_bytes: int = Field(default=1024 * 1024 * 1024, ge=128 * 1024 * 1024)
    limits: DocumentLimits = DocumentLimits()
    failure_limit_documents: int = Field(default=1_000, ge=0)
    failure_limit_ratio: float = Field(default=0.05, ge=0, le=1)
    watch: bool = Field(default=True, description="a sensor looks into the folder")
    watch_seconds: int = Field(default=20, ge=5, description="between two looks of the sensor")
    schedule: str | None = Field(default=None, description="cron in UTC of a scan and its runs")

    @field_validator("day_pattern")
    @classmethod
    def _check_day_pattern(cls, text: str) -> str:
        try:
            groups = set(re.compile(text).groupindex)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if not {"year", "month", "day"} <= groups:
            raise ValueError("needs the groups (?P<year>…), (?P<month>…) and (?P<day>…)")
        return text

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.overlap_characters * 2 > self.chunk_characters:
            raise ValueError(
                f"overlap_characters is {self.overlap_characters}, expected at most half of "
                f"chunk_characters ({self.chunk_characters})"
            )
        return self

    def day_of_folder(self, folder: str) -> date | None:
        """The date in a folder's path, the deepest one; None if there is none."""
        found = None
        for match in re.finditer(self.day_pattern, folder):
            try:
                found = date(int(match["year"]), int(match["month"]), int(match["day"]))
            except ValueError:
                # Digits that are no date (20249999) are part of a name.
                continue
        return found


def read_document_sources(settings: Settings) -> dict[str, DocumentSource]:
    """The sources of `[documents]`, by name; empty if nothing is configured.

    Folders are absolute; relative ones start at the folder of the configuration.

    Raises:
        ConfigurationError: Names the setting that is wrong.
    """
    section = settings.section("documents")
    if unknown := sorted(set(section) - {"sources", "embedding"}):
        raise ConfigurationError(
            f"{settings.config_file}: [documents] has {', '.join(unknown)}, expected only tables "
            "[documents.sources.<name>] and [documents.embedding]; move or remove it"
        )
    sources = section.get("sources", {})
    if not isinstance(sources, Mapping):
        raise ConfigurationError(
            f"{settings.config_file}: documents.sources is {sources!r}, expected tables; "
            "write [documents.sources.<name>]"
        )
    return {name: _read_source(settings, name, values) for name, values in sources.items()}


def _read_source(settings: Settings, name: str, values: object) -> DocumentSource:
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"{settings.config_file}: documents.sources.{name} is {values!r}, expected a table; "
            f"write [documents.sources.{name}]"
        )
    try:
        source = DocumentSource(**{**values, "name": name})
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [documents.sources.{name}] {describe_validation(error)}"
        ) from None
    if "://" in source.url and not source.url.startswith("file://"):
        return source
    folder = Path(source.url.removeprefix("file://")).expanduser()
    return source.model_copy(update={"url": str(settings.config_dir / folder)})
