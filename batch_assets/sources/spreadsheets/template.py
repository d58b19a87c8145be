"""One `[spreadsheets.templates.<name>]`: what a business user's file holds, and where it goes.

Only what a person writes is here. Finding the header belongs in header.py, the meaning of cells in
cell_types.py, the target table's promises in contract.py.
"""

import fnmatch
import hashlib
import re
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_assets.contracts.disposition import Disposition
from batch_assets.errors import ConfigurationError
from batch_assets.settings import describe_validation
from batch_assets.sources.spreadsheets.column_types import ColumnType, TypeName
from batch_assets.sources.spreadsheets.moment_formats import check_format

PROVENANCE = ("arrival_date", "source_file", "source_sheet", "source_row")
"""Columns that every target table has besides the template's: where a row came from."""

RESERVED = frozenset((*PROVENANCE, "load_id", "revision"))
# Quoted everywhere; letters of any language, so that a Chinese header can name its column.
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_MAX_IDENTIFIER_BYTES = 63  # NAMEDATALEN - 1


class ContractMode(StrEnum):
    """What happens to columns that the template does not name.

    FREEZE refuses the file. EVOLVE adds a nullable text column to the table. DISCARD leaves them
    out, with a warning.
    """

    FREEZE = "freeze"
    EVOLVE = "evolve"
    DISCARD = "discard"


class HiddenRows(StrEnum):
    """What happens to rows that are hidden by hand or by a filter."""

    KEEP = "keep"
    SKIP = "skip"


def check_identifier(name: str) -> str:
    """Refuse what should not name a table or column.

    Raises:
        ValueError: Says what is allowed.
    """
    if not _IDENTIFIER.fullmatch(name) or len(name.encode()) > _MAX_IDENTIFIER_BYTES:
        raise ValueError(
            f"{name!r} cannot name a column or table, expected letters, digits and _, not "
            f"beginning with a digit, at most {_MAX_IDENTIFIER_BYTES} bytes"
        )
    if name != name.lower():
        raise ValueError(f"{name!r} has capitals, expected small letters: {name.lower()!r}")
    return name


class ColumnTemplate(BaseModel):
    """One column of the target table, and how it is found and read in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    header: tuple[str, ...] = Field(default=(), description="names in the file; else the name")
    type: str = "text"
    unit: str = Field(default="", description="may follow a number or stand in the header")
    personal: bool = Field(
        default=False, description="values are masked wherever rejected rows are shown"
    )
    required: bool = Field(default=False, description="the file has the column, each row a value")
    allowed: tuple[str, ...] = Field(default=(), description="the only values, as text")
    pattern: str = Field(default="", description="regular expression for the whole value")
    min: Decimal | date | None = None
    max: Decimal | date | None = None
    nulls: tuple[str, ...] = Field(default=("", "-", "--", "—"), description="mean no value")
    date_formats: tuple[str, ...] = Field(default=("auto",), description="tried in order")
    decimal_comma: bool = Field(default=False, description="1.234,50 instead of 1,234.50")
    round: bool = Field(default=False, description="round what has too many decimals")
    time_zone: str = Field(default="", description="of timestamps; stored as instants")
    true: tuple[str, ...] = ("true", "yes", "y", "1", "x", "是", "有", "√", "✓")
    false: tuple[str, ...] = ("false", "no", "n", "0", "否", "无", "×", "✗")
    description: str = ""

    @field_validator("header", "allowed", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(f"{value!r} is filled by the load itself, choose another name")
        return check_identifier(value)

    @field_validator("type")
    @classmethod
    def _type_is_known(cls, value: str) -> str:
        return str(ColumnType.parse(value))

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, value: str) -> str:
        # Arrow matches with RE2, which knows no look-around and never takes forever.
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            pc.match_substring_regex(pa.array([""]), f"^(?:{value})$")
        except pa.ArrowInvalid as error:
            raise ValueError(f"pattern {value!r} is not a regular expression: {error}") from None
        return value

    @field_validator("date_formats")
    @classmethod
    def _formats_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_format(item) for item in value)

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"time_zone {value!r} is not an IANA name") from None
        return value

    @model_validator(mode="after")
    def _range_fits(self) -> Self:
        kind = self.column_type
        for limit in (self.min, self.max):
            is_number = isinstance(limit, Decimal)
            if is_number and not (kind.is_scaled or kind.name is TypeName.INTEGER):
                raise ValueError(f"a range of numbers was given, but the type is {kind}")
            if isinstance(limit, date) and kind.name not in (TypeName.DATE, TypeName.TIMESTAMP):
                raise ValueError(f"a range of dates was given, but the type is {kind}")
        return self

    @property
    def headers(self) -> tuple[str, ...]:
        """Names under which the file may have the column."""
        return self.header or (self.name,)

    @property
    def column_type(self) -> ColumnType:
        """The declared type."""
        return ColumnType.parse(self.type)

    @property
    def has_zone(self) -> bool:
        """Whether values are instants."""
        return bool(self.time_zone) and self.column_type.name is TypeName.TIMESTAMP


class SpreadsheetTemplate(BaseModel):
    """What one kind of file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")
    files: str = Field(default="*", min_length=1, description="glob of file names, or several by |")
    sheet: str | int = Field(default=1, description="position from 1, name, glob, or * for all")
    table: str = Field(description="schema.table")
    key: tuple[str, ...] = Field(default=(), description="columns that make a row unique")
    disposition: Disposition = Disposition.MERGE
    contract: ContractMode = ContractMode.FREEZE
    hidden_rows: HiddenRows = HiddenRows.KEEP
    fill_merged: bool = Field(default=False, description="repeat the value of merged cells")
    stop_at: tuple[str, ...] = Field(default=(), description="first cells that end the table")
    skip_rows_with: tuple[str, ...] = Field(default=(), description="first cells of other rows")
    encoding: str = Field(default="", description="of delimited text; else detected")
    delimiter: str = Field(default="", max_length=1, description="else detected")
    reject_limit_rows: int | None = Field(default=None, ge=0)
    reject_limit_ratio: float | None = Field(default=None, ge=0, le=1)
    max_rows: int = Field(default=5_000_000, ge=1, description="of one file")
    version: int = Field(default=1, ge=1, description="raise it to load known files again")
    columns: tuple[ColumnTemplate, ...] = Field(min_length=1)

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_by_name(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return tuple(
            {"name": name, **({"type": body} if isinstance(body, str) else body)}
            for name, body in value.items()
        )

    @field_validator("key", mode="before")
    @classmethod
    def _one_key_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("table")
    @classmethod
    def _table_is_qualified(cls, value: str) -> str:
        schema, dot, table = value.partition(".")
        if not dot:
            raise ValueError(f"{value!r} has no schema, expected schema.table")
        if schema in ("ops", "staging", "dagster", "market", "pg_catalog", "information_schema"):
            raise ValueError(f"schema {schema!r} belongs to the system, choose one of your own")
        return f"{check_identifier(schema)}.{check_identifier(table)}"

    @model_validator(mode="after")
    def _key_is_there(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        missing = [name for name in self.key if name not in names]
        if missing:
            raise ValueError(f"key names {', '.join(missing)}, expected some of {', '.join(names)}")
        if self.disposition is Disposition.MERGE and not self.key:
            raise ValueError("disposition merge needs a key; write key, or append or replace")
        return self

    def column(self, name: str) -> ColumnTemplate:
        """A column by its name."""
        return next(column for column in self.columns if column.name == name)

    def matches(self, file_name: str) -> bool:
        """Whether a file is one of this template's, by its name."""
        return any(
            fnmatch.fnmatch(file_name.lower(), pattern.strip().lower())
            for pattern in self.files.split("|")
        )

    def takes_sheet(self, name: str, position: int) -> bool:
        """Whether a sheet is read.

        Args:
            name: As on its tab.
            position: From 1.
        """
        if isinstance(self.sheet, int):
            return position == self.sheet
        wanted = self.sheet.strip().casefold()
        return name.strip().casefold() == wanted or fnmatch.fnmatchcase(
            name.strip().casefold(), wanted
        )

    @property
    def personal(self) -> frozenset[str]:
        """Columns that are marked as personal."""
        return frozenset(column.name for column in self.columns if column.personal)

    @property
    def fingerprint(self) -> str:
        """Identity of everything that decides what a file's rows become; 16 hex digits."""
        # File names and limits do not change a row.
        left_out = dict.fromkeys(
            ("files", "reject_limit_rows", "reject_limit_ratio", "max_rows"), True
        )
        # Nor does what reports show of it.
        text = self.model_dump_json(exclude={**left_out, "columns": {"__all__": {"personal"}}})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_templates(section: Mapping[str, Any], base_dir: Path) -> dict[str, SpreadsheetTemplate]:
    """Read the `[spreadsheets]` section.

    Args:
        section: As parsed; `templates` is a table of templates, or a folder of TOML files with
            one template each, named by the file.
        base_dir: Folder that relative paths start from.

    Raises:
        ConfigurationError: A value is wrong; names template and key.
    """
    stated = section.get("templates", {})
    if isinstance(stated, Mapping):
        return {name: build_template(name, body) for name, body in stated.items()}
    folder = base_dir / Path(str(stated)).expanduser()
    if not folder.is_dir():
        raise ConfigurationError(
            f"[spreadsheets] templates is {str(stated)!r}, which is no folder in {base_dir}; "
            "create it, or write [spreadsheets.templates.<name>]"
        )
    return {path.stem: read_template(path) for path in sorted(folder.glob("*.toml"))}


def read_template(path: Path) -> SpreadsheetTemplate:
    """The template of one TOML file, named by the file.

    Raises:
        ConfigurationError: The file cannot be read or a value is wrong.
    """
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"{path.name} cannot be read: {error}; expected a TOML file in UTF-8"
        ) from error
    # What `infer` prints can stand in batch_assets.toml and in a file of its own.
    nested = body.get("spreadsheets", {}).get("templates", {})
    if len(nested) == 1:
        [(name, body)] = nested.items()
        return build_template(name, body)
    return build_template(path.stem, body)


def build_template(name: str, body: Any) -> SpreadsheetTemplate:
    """Validate one template.

    Raises:
        ConfigurationError: A value is wrong; names the key.
    """
    place = f"[spreadsheets.templates.{name}]"
    if not isinstance(body, Mapping):
        raise ConfigurationError(f"{place} is {body!r}, expected a table of settings")
    try:
        return SpreadsheetTemplate(**{**body, "name": name})
    except ValidationError as error:
        raise ConfigurationError(f"{place} {describe_validation(error)}") from None
