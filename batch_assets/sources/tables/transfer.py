"""`[tables.transfers.<name>]`: what one transfer moves, and how."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batch_assets.errors import ConfigurationError
from batch_assets.settings import describe_validation


class TransferMode(StrEnum):
    """Which rows a run reads, and how they meet the rows of the target.

    FULL makes the target, or one day of it, exactly what the source says. INCREMENTAL reads what a
    rising column says is new. QUEUE claims rows that are not processed, and marks them.
    """

    FULL = "full"
    INCREMENTAL = "incremental"
    QUEUE = "queue"


class Transfer(BaseModel):
    """One transfer, as the configuration describes it.

    Attributes:
        source_url_env: Environment variable with the source's URL; empty is the same database.
        table: `schema.table` to read, or else `query`.
        target: `schema.table` to write.
        key: Columns of the target that make a row unique.
        source_key: Their names in the source, where they differ.
        columns: Columns to read; empty is all of them.
        transform: SQL expressions (`price * 100 AS cents`) that are read besides `columns`, or
            `package.module:function`, which takes and returns a pyarrow.Table or a pandas frame.
        incremental_column: Rises with every new or changed row (incremental).
        lookback: How far before the last position a run reads again: `10 minutes` or `1000`.
        processed_column: Boolean column of the source that says a row was taken (queue).
        window_column: Date or timestamp column; the transfer is then partitioned by day.
        empty_ok: A source without rows is an answer, and empties the target too.
        personal: Columns whose values are masked wherever rejected rows are shown, as the target or
            the source calls them.
        direct_rows: Up to so many rows a first load is one stream and one transaction; above,
            chunks are staged and committed one by one, and a killed load continues.
        rows_as: What the function of `transform` takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source_url_env: str = ""
    table: str = ""
    query: str = ""
    target: str
    key: tuple[str, ...] = Field(min_length=1)
    source_key: tuple[str, ...] = ()
    mode: TransferMode = TransferMode.FULL
    columns: tuple[str, ...] = ()
    transform: tuple[str, ...] | str = ()
    rows_as: Literal["arrow", "pandas"] = "arrow"
    incremental_column: str = ""
    lookback: str = ""
    processed_column: str = "processed"
    window_column: str = ""
    create_target: bool = True
    empty_ok: bool = False
    personal: tuple[str, ...] = ()
    direct_rows: int = Field(default=2_000_000, ge=0)
    min_batch_rows: int = Field(default=500, ge=1)
    max_batch_rows: int = Field(default=100_000, ge=1)
    aim_seconds: float = Field(default=1.0, gt=0, description="a chunk should take no longer")
    memory_limit_mb: int = Field(default=512, ge=64)
    reject_limit_rows: int | None = Field(default=None, ge=0)
    reject_limit_ratio: float | None = Field(default=None, ge=0, le=1)
    schedule: str = ""
    time_zone: str = "UTC"
    max_partitions_per_run: int = Field(default=30, ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> "Transfer":
        if bool(self.table) == bool(self.query):
            raise ValueError("name either table or query")
        if self.source_key and len(self.source_key) != len(self.key):
            raise ValueError("source_key needs one column for each column of key")
        if (self.mode is TransferMode.INCREMENTAL) != bool(self.incremental_column):
            raise ValueError("incremental_column belongs to mode = 'incremental', and is needed")
        if self.window_column and self.mode is not TransferMode.FULL:
            raise ValueError("window_column belongs to mode = 'full'")
        if self.mode is TransferMode.QUEUE and not self.table:
            raise ValueError("mode = 'queue' marks rows, so it needs table")
        if self.min_batch_rows > self.max_batch_rows:
            raise ValueError("min_batch_rows is above max_batch_rows")
        return self

    @property
    def is_same_database(self) -> bool:
        """Whether source and target are one database."""
        return not self.source_url_env

    @property
    def python_transform(self) -> str:
        """`package.module:function`, empty where SQL does all."""
        return self.transform if isinstance(self.transform, str) else ""

    @property
    def expressions(self) -> tuple[str, ...]:
        """SQL expressions of the select list."""
        return () if isinstance(self.transform, str) else self.transform

    @property
    def source_keys(self) -> tuple[str, ...]:
        """The key's columns by their names in the source."""
        return self.source_key or self.key

    @property
    def personal_names(self) -> frozenset[str]:
        """Personal columns by all their names: a column of the key may have two."""
        pairs = zip(self.key, self.source_keys, strict=True)
        both = (pair for pair in pairs if set(pair) & set(self.personal))
        return frozenset(self.personal).union(*both)

    def key_of(self, row: Mapping[str, str | None]) -> dict[str, str | None]:
        """Key of a row of texts, under the target's names; a row before a function has others."""
        pairs = zip(self.key, self.source_keys, strict=True)
        return {ours: row.get(ours, row.get(theirs)) for ours, theirs in pairs}

    @property
    def origin(self) -> str:
        """What is read, for ledgers and messages."""
        place = f"{self.source_url_env}:" if self.source_url_env else ""
        return f"{place}{self.table or 'query of ' + self.name}"


def build_transfers(section: Mapping[str, Any]) -> dict[str, Transfer]:
    """The transfers of `[tables]`, by name.

    Raises:
        ConfigurationError: A setting is missing, unknown or wrong; says which.
    """
    described = dict(section).pop("transfers", {})
    unknown = sorted(set(section) - {"transfers"})
    if unknown:
        raise ConfigurationError(
            f"[tables] has {', '.join(unknown)}, expected only [tables.transfers.<name>]; "
            "move or remove it"
        )
    transfers = {}
    for name, values in described.items():
        if not name.isidentifier():
            raise ConfigurationError(
                f"[tables.transfers.{name}]: a name has letters, digits and underscores; rename it"
            )
        try:
            transfers[name] = Transfer(name=name, **values)
        except (ValidationError, TypeError) as error:
            seen = describe_validation(error) if isinstance(error, ValidationError) else str(error)
            raise ConfigurationError(f"[tables.transfers.{name}]: {seen}") from None
    return transfers
