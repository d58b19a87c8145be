"""How times and words are shown: `[display]` of batch_assets.toml, and the locale.

Reads no environment: settings.py does.
"""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from batch_assets.errors import ConfigurationError
from batch_assets.ops.language import Language
from batch_assets.settings import Settings, describe_validation


class DisplaySettings(BaseModel):
    """`[display]`: how times and words are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: str | None = Field(
        default=None, description="IANA name; default: of the feed that is shown, else UTC"
    )
    language: Language | None = Field(default=None, description="en or zh; default: by LANG")
    dagster_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        description="where people reach Dagster's webserver; pages link to runs there",
    )

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError(f"{name} is no IANA time zone such as Asia/Shanghai") from None
        return name


def read_display(settings: Settings) -> DisplaySettings:
    """The section, validated.

    Raises:
        ConfigurationError: It is not as the file must have it.
    """
    try:
        return DisplaySettings(**settings.section("display"))
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [display] {describe_validation(error)}"
        ) from None


def language_of(settings: Settings, chosen: Language | None = None) -> Language:
    """What was chosen for once, else `[display] language`, else by the locale."""
    return chosen or read_display(settings).language or Language.of_locale(settings.locale)


def zone_of(settings: Settings, feed: str | None = None) -> ZoneInfo:
    """`[display] time_zone`, else the feed's own, else UTC."""
    name = read_display(settings).time_zone
    if name is None and feed is not None:
        # Brings pyarrow along, which a list of commands can do without.
        from batch_assets.sources.market.feed import build_feeds

        known = build_feeds(settings.section("market"), settings.config_dir).get(feed)
        name = known.zone_name if known is not None else None
    return ZoneInfo(name or "UTC")


def time_text(instant: datetime, zone: ZoneInfo) -> str:
    """`2024-09-30 16:25:30+08:00`: with its offset, to the second."""
    return instant.astimezone(zone).isoformat(sep=" ", timespec="seconds")
