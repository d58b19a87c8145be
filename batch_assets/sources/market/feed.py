"""One `[market.feeds.<name>]` of batch_assets.toml: where rows come from and what they mean.

`Feed` is what all feeds have. A feed with `vendor` is a `VendorFeed`, any other a `FileFeed`.
Only what a person writes is here. Reading files belongs in files.py and below it, asking vendors
in vendors/, symbols in symbols.py, names of columns in columns.py.
"""

import codecs
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from batch_assets.contracts.severity import Severity
from batch_assets.errors import ConfigurationError
from batch_assets.settings import describe_validation
from batch_assets.sources.market.columns import Columns
from batch_assets.sources.market.date_formats import check_format
from batch_assets.sources.market.exchanges import CLOSES, TradingHours
from batch_assets.sources.market.symbols import SymbolRule
from batch_assets.sources.market.vendors.registry import kind_of

LOT_SHARES = 100  # 手, the board lot of mainland exchanges


class Layout(StrEnum):
    """How days lie in the folder: a file a day, or files that each hold many days."""

    BY_DAY = "by_day"
    BY_SYMBOL = "by_symbol"


class FileFormat(StrEnum):
    """How a file is packed."""

    CSV = "csv"
    CSV_GZ = "csv.gz"
    CSV_BZ2 = "csv.bz2"
    CSV_XZ = "csv.xz"
    CSV_ZST = "csv.zst"
    ZIP = "zip"
    PARQUET = "parquet"
    XLSX = "xlsx"


class Adjustment(StrEnum):
    """How prices are adjusted for corporate actions."""

    RAW = "raw"
    QFQ = "qfq"
    HFQ = "hfq"


class Feed(BaseModel):
    """What one feed is, as its section of the configuration says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,59}$", description="small letters, digits, _")
    source: str = Field(default="", description="value of the column `source`; the feed's name")
    symbol: SymbolRule = SymbolRule()
    date_format: str = "auto"
    volume_unit: Literal["share", "lot"] | Decimal = "share"
    amount_scale: Decimal = Field(default=Decimal(1), gt=0)
    price_scale: Decimal = Field(default=Decimal(1), gt=0)
    nulls: tuple[str, ...] = ("", "-", "--", "None", "NULL", "null", "N/A")
    suspended_values: tuple[str, ...] = Field(default=(), description="of columns.status")
    prices: Adjustment = Adjustment.RAW
    ohlc_rule: Severity | None = Field(default=None, description="else reject raw, warn adjusted")
    calendar: str
    calendar_file: Path | None = Field(default=None, description="own open and closed days")
    time_zone: str = ""
    closes_at: time | None = None
    ready_after_minutes: int = Field(default=60, ge=0, le=7 * 24 * 60)
    first_day: date | None = None
    schedule: str | None = Field(default=None, description="cron in the feed's time zone")
    repair_schedule: str | None = Field(default=None, description="cron in the feed's time zone")
    repair_days: int = Field(default=30, ge=0, le=3660, description="calendar days looked back")
    reread_sessions: int = Field(default=0, ge=0, le=250, description="read again every day")
    reject_limit_rows: int | None = Field(default=None, ge=0)
    reject_limit_ratio: float | None = Field(default=None, ge=0, le=1)
    max_partitions_per_run: int = Field(default=30, ge=1)
    identical_days: tuple[date, ...] = Field(
        default=(), description="days that really repeat the session before them"
    )

    @field_validator("date_format")
    @classmethod
    def _date_format_is_known(cls, value: str) -> str:
        return check_format(value)

    @field_validator("volume_unit", mode="after")
    @classmethod
    def _unit_is_positive(cls, value: "str | Decimal") -> "str | Decimal":
        if isinstance(value, Decimal) and not value > 0:
            raise ValueError("a unit is 'share', 'lot' or a number above zero")
        return value

    @model_validator(mode="after")
    def _close_is_known(self) -> Self:
        if CLOSES.get(self.calendar) is None and not (self.time_zone and self.closes_at):
            raise ValueError(
                f"the close of calendar {self.calendar!r} is not known; write time_zone and "
                "closes_at"
            )
        try:
            ZoneInfo(self.zone_name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"time_zone {self.zone_name!r} is not an IANA name") from None
        return self

    @property
    def place(self) -> str:
        """Where rows come from, for people."""
        return self.name

    @property
    def facts(self) -> dict[str, str]:
        """What tells this feed's rows from another's, for people."""
        return {"place": self.place}

    @property
    def max_days_per_run(self) -> int | None:
        """Days of a range that one run loads; None for all of them."""
        return self.max_partitions_per_run

    @property
    def source_name(self) -> str:
        """Value of the column `source`."""
        return self.source or self.name

    @property
    def hours(self) -> TradingHours:
        """Close of the feed's exchange, and the calendar that lists its sessions."""
        known = CLOSES.get(self.calendar, TradingHours("UTC", None))
        return TradingHours(
            time_zone=self.time_zone or known.time_zone,
            close=self.closes_at or known.close,
            calendar=known.calendar or self.calendar,
        )

    @property
    def zone_name(self) -> str:
        """IANA name of the exchange's time zone."""
        return self.hours.time_zone

    @property
    def calendar_name(self) -> str:
        """Calendar that lists the sessions (Shenzhen trades on the days of Shanghai)."""
        return self.hours.calendar

    @property
    def volume_scale(self) -> Decimal:
        """Shares or units in one unit of the file's volume column."""
        if isinstance(self.volume_unit, Decimal):
            return self.volume_unit
        return Decimal(LOT_SHARES if self.volume_unit == "lot" else 1)

    @property
    def ohlc_severity(self) -> Severity:
        """What a bar whose high or low does not bound open and close costs."""
        default = Severity.REJECT if self.prices is Adjustment.RAW else Severity.WARN
        return self.ohlc_rule or default

    def closes_on(self, day: date) -> datetime:
        """Instant at which the session of a day is over."""
        hours = self.hours
        zone = ZoneInfo(hours.time_zone)
        if hours.close is None:
            return datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone)
        return datetime.combine(day, hours.close, tzinfo=zone)

    def ready_on(self, day: date) -> datetime:
        """Instant from which the rows of a day are expected."""
        return self.closes_on(day) + timedelta(minutes=self.ready_after_minutes)

    @property
    def cron(self) -> str:
        """Cron of the daily run, in the feed's time zone: a minute after a day is due."""
        if self.schedule:
            return self.schedule
        return self._cron_after(timedelta(minutes=1))

    @property
    def repair_cron(self) -> str:
        """Cron of the later run that repairs days: three hours after the daily one."""
        return self.repair_schedule or self._cron_after(timedelta(hours=3, minutes=1))

    def _cron_after(self, wait: timedelta) -> str:
        # Any winter day: the wall clock is what counts, and it does not change with the season.
        at = self.ready_on(date(2024, 1, 10)) + wait
        return f"{at.minute} {at.hour} * * *"


class FileFeed(Feed):
    """A feed of files in a folder."""

    folder: Path = Field(description="relative paths start at the configuration's folder")
    files: str = Field(default="*", min_length=1, description="glob; {date} or {date:%Y%m%d}")
    layout: Layout
    format: FileFormat | None = Field(
        default=None, description="else told by the file's name and first bytes"
    )
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = Field(default=".", description="mark before the decimals")
    header: bool = True
    skip_lines: int = Field(default=0, ge=0, description="lines before the header")
    sheet: str | None = Field(default=None, description="of a workbook; else the first")
    zip_member: str = Field(default="*", description="glob of the members of a zip to read")
    columns: Columns = Columns()
    max_expanded_bytes: int = Field(default=8 * 1024**3, ge=1024)

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError("no such encoding; try utf-8, gb18030, big5 or latin-1") from None

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        if not self.header:
            self._positions_only()
        if self.decimal == ",":
            self._decimal_is_of_text()
        if self.suspended_values and not self.columns.status:
            raise ValueError("suspended_values needs columns.status")
        return self

    def _decimal_is_of_text(self) -> None:
        if self.delimiter == ",":
            raise ValueError('decimal = "," needs another delimiter, such as ";"')
        if (self.format or self.files.lower().rpartition(".")[2]) in ("xlsx", "parquet"):
            raise ValueError('decimal = "," is for text; workbooks and Parquet hold numbers')

    def _positions_only(self) -> None:
        for target, candidates in self.columns.stated():
            if any(isinstance(candidate, str) for candidate in candidates):
                raise ValueError(
                    f"columns.{target} is a name, but header = false; write its position from 1"
                )

    @property
    def place(self) -> str:
        """Folder and files, for people."""
        return f"{self.folder}/{self.files}"

    @property
    def facts(self) -> dict[str, str]:
        """What tells this feed's rows from another's, for people."""
        return {"folder": str(self.folder), "files": self.files, "layout": str(self.layout)}


class VendorFeed(Feed):
    """A feed that asks a vendor; what its section leaves out comes from the vendor's module."""

    vendor: str = Field(description="a name of vendors/registry.py")
    base_url: str = Field(default="", description="of vendors that speak HTTP")
    host: str = Field(default="", description="of vendors with a protocol of their own")
    port: int = Field(default=0, ge=0, le=65535)
    token_env: str = Field(default="", description="environment variable that holds the token")
    exchange: str = Field(default="", description="the vendor's name of the exchange asked for")
    symbols: tuple[str, ...] = Field(default=(), description="canonical; asked one by one")
    symbols_file: Path | None = Field(default=None, description="one symbol a line")
    requests_per_minute: float | None = Field(default=None, gt=0, description="of all runs")
    max_connections: int = Field(default=1, ge=1, le=32, description="open at the same time")
    attempts: int = Field(default=4, ge=1, le=10, description="of one request")
    first_wait_seconds: float = Field(default=1.0, gt=0, description="doubled after each failure")
    max_wait_seconds: float = Field(default=90.0, ge=0, description="for a vendor's rate limit")
    connection_wait_seconds: float = Field(
        default=3600.0, ge=0, description="for the one connection of a vendor that allows no more"
    )
    connect_timeout_seconds: float = Field(default=10.0, gt=0)
    read_timeout_seconds: float = Field(default=30.0, gt=0, description="without a byte")
    reply_timeout_seconds: float = Field(default=120.0, gt=0, description="for a whole reply")
    max_reply_bytes: int = Field(default=256 * 1024**2, ge=1024)
    max_reply_rows: int = Field(default=0, ge=0, description="a reply of so many is cut; 0: none")
    reuse_minutes: int = Field(default=720, ge=0, description="replies by symbol are kept")
    reread_sessions: int = Field(default=5, ge=0, le=250, description="read again every day")

    @field_validator("vendor")
    @classmethod
    def _vendor_is_known(cls, value: str) -> str:
        kind_of(value)
        return value

    @field_validator("base_url")
    @classmethod
    def _base_url_is_one(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", value):
            raise ValueError("expected http:// or https://, a host, and no query")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_something_to_ask(self) -> Self:
        if not kind_of(self.vendor).by_day and not (self.symbols or self.symbols_file):
            raise ValueError(
                f"vendor {self.vendor!r} answers by symbol only; write symbols or symbols_file"
            )
        return self

    @property
    def address(self) -> str:
        """Base URL, or host and port."""
        return self.base_url or f"{self.host}:{self.port}"

    @property
    def place(self) -> str:
        """Vendor and address, for people."""
        return f"{self.vendor} ({self.address})"

    @property
    def facts(self) -> dict[str, str]:
        """What tells this feed's rows from another's, for people."""
        return {"vendor": self.vendor, "address": self.address}

    @property
    def max_days_per_run(self) -> int | None:
        """All days of a range in one run where each symbol is asked once for all of them."""
        return self.max_partitions_per_run if kind_of(self.vendor).by_day else None


def build_feeds(section: Mapping[str, Any], base_dir: Path) -> dict[str, Feed]:
    """Read the `[market]` section.

    Args:
        section: The section as parsed: `feeds`, and `default_feed`.
        base_dir: Folder that relative paths start from.

    Returns:
        Feeds by name, the default one first.

    Raises:
        ConfigurationError: A value is wrong; names feed and key.
    """
    unknown = sorted(set(section) - {"feeds", "default_feed"})
    if unknown:
        raise ConfigurationError(
            f"[market] has {', '.join(unknown)}, expected only default_feed and feeds; "
            "settings of a feed belong under [market.feeds.<name>]"
        )
    feeds = {
        name: _build_feed(name, body, base_dir) for name, body in section.get("feeds", {}).items()
    }
    _refuse_mixed_sources(feeds)
    default = section.get("default_feed", next(iter(feeds), None))
    if default is not None and default not in feeds:
        raise ConfigurationError(
            f"[market] default_feed is {default!r}, expected one of "
            f"{', '.join(feeds) or 'no feeds'}"
        )
    return {name: feeds[name] for name in sorted(feeds, key=lambda name: name != default)}


def _build_feed(name: str, body: Any, base_dir: Path) -> Feed:
    if not isinstance(body, Mapping):
        raise ConfigurationError(
            f"[market.feeds] {name} is {body!r}, expected a table; write [market.feeds.{name}]"
        )
    try:
        feed = _validate(name, body)
    except ValidationError as error:
        raise ConfigurationError(f"[market.feeds.{name}] {describe_validation(error)}") from None
    paths = {
        key: base_dir / path.expanduser()
        for key in ("folder", "calendar_file", "symbols_file")
        if (path := getattr(feed, key, None)) is not None
    }
    return feed.model_copy(update=paths)


def _validate(name: str, body: Mapping[str, Any]) -> Feed:
    vendor = body.get("vendor")
    if vendor is None:
        return FileFeed(**{**body, "name": name})
    try:
        defaults = kind_of(str(vendor)).defaults
    except ValueError as error:
        raise ConfigurationError(f"[market.feeds.{name}] vendor: {error}") from None
    return VendorFeed(**{**defaults, **body, "name": name})


def _refuse_mixed_sources(feeds: Mapping[str, Feed]) -> None:
    by_source: dict[str, Feed] = {}
    for feed in feeds.values():
        other = by_source.setdefault(feed.source_name, feed)
        if other.prices is not feed.prices:
            raise ConfigurationError(
                f"feeds {other.name} ({other.prices}) and {feed.name} ({feed.prices}) write source "
                f"{feed.source_name!r}; adjusted and raw prices never mix: give one another source"
            )
