"""`[retention]` of the configuration: how long what is recorded is kept."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, describe_validation

SECTION = "retention"


class RetentionSettings(BaseModel):
    """`[retention]`: days; 0 keeps for ever. Of batches of devices: `[devices] metrics_keep_days`.

    Attributes:
        loads_days: Ended loads that nothing reads any more; the newest of a window always stays.
        dead_letters_days: Dead letters that were answered; open ones always stay.
        history_days: Former versions of bars, since they were replaced.
        staging_days: Chunks of windows that nobody went on with.
        dagster_events_days: What steps of ended runs said; events of assets and runs stay.
        dagster_logs_days: Captured output of runs.
        batch_rows: Deleted in one transaction.
        cron: When the schedule prunes, in UTC; it runs where this section is written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    loads_days: int = Field(default=730, ge=0)
    dead_letters_days: int = Field(default=365, ge=0)
    plans_days: int = Field(default=180, ge=0)
    backfills_days: int = Field(default=730, ge=0)
    audit_days: int = Field(default=730, ge=0)
    alerts_days: int = Field(default=180, ge=0)
    device_alerts_days: int = Field(default=180, ge=0)
    shadow_differences_days: int = Field(default=30, ge=0)
    failed_symbols_days: int = Field(default=180, ge=0)
    history_days: int = Field(default=0, ge=0)
    staging_days: int = Field(default=7, ge=0)
    run_workers_days: int = Field(default=90, ge=0)
    dagster_events_days: int = Field(default=90, ge=0)
    dagster_logs_days: int = Field(default=30, ge=0)
    batch_rows: int = Field(default=5_000, ge=1)
    cron: str = "30 3 * * *"


def read_retention_settings(settings: Settings) -> RetentionSettings:
    """The section as it is in force.

    Raises:
        ConfigurationError: A value is not allowed; says which.
    """
    try:
        return RetentionSettings.model_validate(dict(settings.section(SECTION)))
    except ValidationError as error:
        raise ConfigurationError(
            f"{settings.config_file}: [retention] {describe_validation(error)}"
        ) from None
