"""`[alerts]` of the configuration: rules, channels, how often.

`[retention]` is in retention_settings.py.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batch_assets.errors import ConfigurationError
from batch_assets.monitoring.metrics import METRICS
from batch_assets.settings import Settings, describe_validation

SECTION = "alerts"
Severity = Literal["warning", "critical"]


class RuleSettings(BaseModel):
    """`[alerts.rules.<name>]`: when a metric is a reason to tell somebody.

    Attributes:
        metric: Of monitoring/metrics.py; each of its label sets is judged by itself.
        where: Only samples with these labels.
        warning_above: Limit of a warning; without it there is none.
        critical_above: Limit of a critical alert, likewise.
        above: Critical limits that one label value has in place of both (`{ cn = 7200 }`).
        for_seconds: How long a limit must be passed without a break.
        keep_seconds: How long it must be kept again before the alert ends.
        is_on: False switches a rule off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    where: Mapping[str, str] = Field(default_factory=dict)
    warning_above: float | None = None
    critical_above: float | None = None
    above: Mapping[str, float] = Field(default_factory=dict)
    for_seconds: float = Field(default=60.0, ge=0)
    keep_seconds: float = Field(default=60.0, ge=0)
    is_on: bool = True

    @model_validator(mode="after")
    def _is_a_rule(self) -> "RuleSettings":
        found = METRICS.get(self.metric)
        if found is None:
            raise ValueError(f"metric is unknown, expected one of {', '.join(sorted(METRICS))}")
        if unknown := set(self.where) - set(found.labels):
            raise ValueError(f"where names {sorted(unknown)}, the metric has {found.labels}")
        if self.warning_above is None and self.critical_above is None and not self.above:
            raise ValueError("no limit is set, expected warning_above or critical_above")
        return self


class _Channel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    severities: tuple[Severity, ...] = ("warning", "critical")


class LogChannel(_Channel):
    """The log of the process that evaluates; the channel there is without any other."""

    kind: Literal["log"]


class WebhookChannel(_Channel):
    """An HTTP receiver.

    Attributes:
        shape: Of the body: what Slack, WeCom and DingTalk robots read, or all fields as JSON.
        url_env: Variable that holds the URL, which is a secret with all of them.
        secret_env: Variable with the key that DingTalk robots want requests signed with.
    """

    kind: Literal["webhook"]
    shape: Literal["slack", "wecom", "dingtalk", "json"] = "json"
    url_env: str = Field(min_length=1)
    secret_env: str = ""
    timeout_seconds: float = Field(default=10.0, gt=0)


class EmailChannel(_Channel):
    """A mail server.

    Attributes:
        security: starttls: from the first command on; tls: from the first byte.
        password_env: Variable with the password; no login without `username`.
    """

    kind: Literal["email"]
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = Field(min_length=3)
    recipients: tuple[str, ...] = Field(min_length=1)
    username: str = ""
    password_env: str = ""
    timeout_seconds: float = Field(default=20.0, gt=0)


Channel = Annotated[LogChannel | WebhookChannel | EmailChannel, Field(discriminator="kind")]

_HOUR = 3600.0

# Those of the original design, and what stops work without an error.
DEFAULT_RULES: Mapping[str, Mapping[str, object]] = {
    "error_rate": {
        "metric": "batch_assets_recent_error_ratio",
        "warning_above": 0.05,
        "critical_above": 0.10,
    },
    "failed_loads": {
        "metric": "batch_assets_recent_failed_load_ratio",
        "warning_above": 0.05,
        "critical_above": 0.10,
    },
    "back_pressure": {"metric": "batch_assets_queue_used_ratio", "warning_above": 0.80},
    "memory": {
        "metric": "batch_assets_memory_used_ratio",
        "warning_above": 0.80,
        "for_seconds": 120.0,
    },
    "lag": {"metric": "batch_assets_oldest_waiting_seconds", "critical_above": 300.0},
    "freshness": {
        "metric": "batch_assets_partition_lag_seconds",
        "warning_above": 4 * _HOUR,
        "critical_above": 24 * _HOUR,
    },
    # Ten times the time a lease lasts: the reaper frees it within a minute where one is alive.
    "silent_lease": {"metric": "batch_assets_lease_silent_seconds", "warning_above": 300.0},
    "lock_wait": {"metric": "batch_assets_lock_wait_seconds", "warning_above": 120.0},
    "vendor_breaker": {
        "metric": "batch_assets_vendor_breaker_open",
        "warning_above": 0.0,
        "for_seconds": 300.0,
    },
    "silent_devices": {"metric": "batch_assets_devices_silent", "warning_above": 0.0},
    "undelivered": {"metric": "batch_assets_device_outbox_dead", "warning_above": 0.0},
}


class AlertSettings(BaseModel):
    """`[alerts]`, with the default rules in it.

    Attributes:
        is_on: False switches the evaluation off everywhere.
        evaluate_seconds: Between two evaluations, whoever makes them.
        window_seconds: What `recent` means in metrics.
        least_rows: Fewer recent rows have no error ratio.
        language: Of messages; default: `[display] language`, else LANG.
        rules: By name; what is written is laid over the default of that name.
        channels: By name; the log where none is written.
        attempts_seconds: How long a message is tried before it is given up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    is_on: bool = True
    evaluate_seconds: float = Field(default=30.0, gt=0)
    window_seconds: float = Field(default=3600.0, gt=0)
    least_rows: int = Field(default=20, ge=1)
    language: Literal["", "en", "zh"] = ""
    rules: Mapping[str, RuleSettings] = Field(default_factory=dict)
    channels: Mapping[str, Channel] = Field(default_factory=dict)
    attempts_seconds: float = Field(default=86_400.0, gt=0)


def read_alert_settings(settings: Settings) -> AlertSettings:
    """The section as it is in force.

    Raises:
        ConfigurationError: A value is not allowed; says which.
    """
    written = dict(settings.section(SECTION))
    rules = {name: dict(rule) for name, rule in DEFAULT_RULES.items()}
    try:
        for name, rule in written.pop("rules", {}).items():
            rules[name] = {**rules.get(name, {}), **rule}
        channels = written.pop("channels", {}) or {"log": {"kind": "log"}}
        return AlertSettings.model_validate({**written, "rules": rules, "channels": channels})
    except ValidationError as error:
        problem = describe_validation(error)
    except (TypeError, AttributeError, ValueError):
        problem = "rules and channels are not tables; write [alerts.rules.<name>]"
    raise ConfigurationError(f"{settings.config_file}: [alerts] {problem}")


def is_configured(settings: Settings) -> bool:
    """Whether somebody wrote the section: without it no sensor evaluates."""
    return SECTION in settings.sections and read_alert_settings(settings).is_on


def message_language(settings: Settings) -> Literal["en", "zh"]:
    """Of alerts: their own, else that of the display, else that of the locale."""
    chosen = read_alert_settings(settings).language or settings.section("display").get("language")
    if chosen in ("en", "zh"):
        return "zh" if chosen == "zh" else "en"
    return "zh" if settings.locale.lower().startswith("zh") else "en"
