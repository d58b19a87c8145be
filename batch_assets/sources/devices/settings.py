"""`[devices]` of the configuration: where records come from, and how they are written.

Sub-sections are validated by those who use them (`alerts`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_assets.errors import ConfigurationError
from batch_assets.execution.capacity import read_capacity
from batch_assets.settings import Settings, describe_validation

DeviceFormat = Literal["ndjson", "jsonl", "csv", "parquet"]


def _default_shards() -> int:
    # The original design's rule, on the cores of the container.
    return max(2, min(8, int(read_capacity().cpus) // 2))


def _names_of_columns() -> dict[str, tuple[str, ...]]:
    """What clients call each column."""
    from batch_assets.sources.devices.contract import METRICS
    from batch_assets.sources.devices.parse import DEVICE_NAMES

    return {"device_sn": DEVICE_NAMES, **{metric.column: metric.names for metric in METRICS}}


class DeviceSettings(BaseModel):
    """Everything of the section but its sub-sections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    landing: str = Field(default="", description="folder that files arrive in; none by default")
    formats: tuple[DeviceFormat, ...] = Field(
        default=("ndjson", "jsonl", "csv", "parquet"),
        min_length=1,
        description="what is read there, plain or packed (.gz, .zst)",
    )
    zone: str = Field(default="UTC", description="of times that name none")
    settle_seconds: float = Field(
        default=2.0, ge=0, description="a file that changed less long ago may still be written"
    )
    shards: int = Field(
        default_factory=_default_shards,
        ge=1,
        le=256,
        description="where no map is stored yet; later `batch-assets devices reshard`",
    )
    file_batch_rows: int = Field(
        default=40_000,
        ge=100,
        description="rows of files that are read at a time; shards share them",
    )
    batch_rows_min: int = Field(default=50, ge=1, description="continuous mode: smallest aim")
    batch_rows_max: int = Field(default=250, ge=1, description="continuous mode: largest batch")
    batch_seconds: float = Field(
        default=2.0, gt=0, description="continuous mode: no record waits longer for its batch"
    )
    inbox_rows_max: int = Field(
        default=100_000, ge=1, description="records that may wait; above, clients get 429"
    )
    request_bytes_max: int = Field(
        default=16 * 1024 * 1024, ge=1024, description="of one request to /api/devices/records"
    )
    lease_seconds: float = Field(
        default=5.0, ge=0.5, description="continuous mode: then another host takes over"
    )
    scan_seconds: float = Field(
        default=5.0, gt=0, description="continuous mode: between two looks at the folder"
    )
    silent_seconds: float = Field(
        default=86_400.0, gt=0, description="a device that sent nothing for so long is silent"
    )
    silent_forget_days: int = Field(
        default=30, ge=1, description="a device that is silent for longer is out of use"
    )
    error_ratio_max: float = Field(
        default=0.05, ge=0, le=1, description="rejected rows of a day that are still healthy"
    )
    personal: tuple[str, ...] = Field(
        default=(), description="columns whose values are masked wherever rejected rows are shown"
    )
    metrics_keep_days: int = Field(
        default=30, ge=1, description="rows of ops.batch_metrics that are kept"
    )
    watch: bool = Field(default=True, description="Dagster: whether the sensor runs by itself")
    watch_seconds: int = Field(
        default=30, ge=5, description="Dagster: between two looks at the folder and the inbox"
    )
    cron: str = Field(
        default="*/15 * * * *", description="Dagster: schedule for hosts without the sensor, UTC"
    )
    redis_url_env: str = Field(
        default="", description="variable with the URL of a Redis that is told of each record"
    )
    alerts: Mapping[str, Any] = Field(
        default_factory=dict, description="rules about values; validated where they are evaluated"
    )

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("is no time zone, expected a name such as Asia/Shanghai") from error
        return zone

    @field_validator("personal")
    @classmethod
    def _columns_are_known(cls, personal: tuple[str, ...]) -> tuple[str, ...]:
        known = _names_of_columns()
        if unknown := sorted(set(personal) - set(known)):
            raise ValueError(f"{', '.join(unknown)} is no column, expected some of {list(known)}")
        return personal

    @property
    def personal_names(self) -> frozenset[str]:
        """Personal columns by all names that clients may give them."""
        known = _names_of_columns()
        return frozenset(name for column in self.personal for name in (column, *known[column]))

    @model_validator(mode="after")
    def _fits_together(self) -> "DeviceSettings":
        if self.batch_rows_min > self.batch_rows_max:
            raise ValueError("batch_rows_min is above batch_rows_max")
        return self


def read_device_settings(settings: Settings) -> DeviceSettings:
    """The section as it is in force.

    Raises:
        ConfigurationError: A value is wrong; names the key.
    """
    try:
        return DeviceSettings(**settings.section("devices"))
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [devices] {describe_validation(error)}"
        ) from None


def landing_folder(settings: Settings) -> Path | None:
    """Where files arrive, from the configuration's own folder; None where none is set."""
    written = read_device_settings(settings).landing
    return settings.config_dir / Path(written).expanduser() if written else None
