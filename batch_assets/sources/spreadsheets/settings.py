"""The `[spreadsheets]` section: templates, and the folders that files and corrections arrive in."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, describe_validation
from batch_assets.sources.spreadsheets.template import SpreadsheetTemplate, build_templates


class SpreadsheetSettings(BaseModel):
    """Everything of the section but the templates themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    templates: Any = None
    landing: str = Field(default="", description="folder that files arrive in")
    inbox: str = Field(default="", description="folder that corrected workbooks arrive in")
    settle_seconds: float = Field(
        default=5.0, ge=0, description="a file that changed less long ago may still be written"
    )
    watch_seconds: int = Field(default=30, ge=5, description="between two looks at the folders")
    cron: str = Field(default="0 * * * *", description="the schedule, UTC")


def read_spreadsheet_settings(settings: Settings) -> SpreadsheetSettings:
    """Validate the section.

    Raises:
        ConfigurationError: A value is wrong; names the key.
    """
    try:
        return SpreadsheetSettings(**settings.section("spreadsheets"))
    except ValidationError as error:
        raise ConfigurationError(f"[spreadsheets] {describe_validation(error)}") from None


def read_templates(settings: Settings) -> dict[str, SpreadsheetTemplate]:
    """All templates by name.

    Raises:
        ConfigurationError: A value is wrong; names template and key.
    """
    read_spreadsheet_settings(settings)
    return build_templates(settings.section("spreadsheets"), settings.config_dir)


def folder_of(settings: Settings, written: str) -> Path | None:
    """A folder of the section, from the configuration's own; None where none is set."""
    return settings.config_dir / Path(written).expanduser() if written else None


def error_folder(settings: Settings) -> Path:
    """Where workbooks with rejected rows are kept."""
    return settings.state_dir / "spreadsheets" / "errors"
