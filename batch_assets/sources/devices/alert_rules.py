"""`[devices.alerts]`: rules about measured values, of all devices or of a group.

Only what a rule is, and which devices of a batch one of them may concern; runs of records and what
is opened or resolved by them are kept in `loading/device_alerts.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batch_assets.errors import ConfigurationError
from batch_assets.settings import describe_validation
from batch_assets.sources.devices.contract import METRICS

_METRICS = {metric.column: metric for metric in METRICS}


class AlertRule(BaseModel):
    """`[[devices.alerts.rules]]`: one bound of one metric, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="shown with the alert")
    metric: str = Field(description="column of devices.records")
    min: float | None = Field(default=None, description="values below it break the rule")
    max: float | None = Field(default=None, description="values above it break the rule")
    severity: Literal["info", "warning", "critical"] = "warning"
    records: int = Field(default=1, ge=1, description="in a row that break it before it alerts")
    for_seconds: float = Field(
        default=0.0, ge=0, description="from the first to the last of them, by the device's time"
    )
    group: str = Field(
        default="", description="only for this group, in place of the rule of the same name"
    )

    @model_validator(mode="after")
    def _can_fire_and_resolve(self) -> "AlertRule":
        metric = _METRICS.get(self.metric)
        if metric is None:
            raise ValueError(f"metric is none of {', '.join(_METRICS)}")
        if self.min is None and self.max is None:
            raise ValueError("has neither min nor max, expected at least one")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max, so that every value breaks the rule")
        lowest = metric.lowest if self.min is None else self.min
        highest = metric.highest if self.max is None else self.max
        # Records outside of what is possible are rejected before any rule sees them.
        if lowest <= metric.lowest and highest >= metric.highest:
            raise ValueError(
                f"can never fire: {self.metric} is always from {metric.lowest:g} to "
                f"{metric.highest:g}; put min or max inside"
            )
        if lowest > metric.highest or highest < metric.lowest:
            raise ValueError(
                f"can never be resolved: {self.metric} is always from {metric.lowest:g} to "
                f"{metric.highest:g}; put min or max inside"
            )
        return self

    @property
    def allowed(self) -> str:
        """What keeps the rule, in words."""
        if self.min is None:
            return f"at most {self.max:g}"
        return f"at least {self.min:g}" if self.max is None else f"{self.min:g} to {self.max:g}"


class AlertSettings(BaseModel):
    """The whole sub-section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[AlertRule, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="patterns of serial numbers (`W-*`) by group; the first that fits counts",
    )
    webhook_url_env: str = Field(
        default="", description="variable with a URL that alerts are posted to"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "AlertSettings":
        seen: dict[str, AlertRule] = {}
        for rule in self.rules:
            if rule.group and rule.group not in self.groups:
                raise ValueError(
                    f"rule {rule.name} is for the group {rule.group}, which is not in groups"
                )
            first = seen.setdefault(rule.name, rule)
            if first.metric != rule.metric:
                raise ValueError(f"the name {rule.name} is used for two metrics")
        if len({(rule.name, rule.group) for rule in self.rules}) < len(self.rules):
            raise ValueError("two rules have the same name and group")
        return self

    def group_of(self, device_sn: str) -> str:
        """The first group with a pattern that fits; empty if none has."""
        for group, patterns in self.groups.items():
            if any(fnmatchcase(device_sn, pattern) for pattern in patterns):
                return group
        return ""

    def groups_of(self, rule: AlertRule) -> list[str]:
        """The groups a rule is for; the empty name stands for devices of no group."""
        if rule.group:
            return [rule.group]
        special = {other.group for other in self.rules if other.name == rule.name}
        return [group for group in ("", *self.groups) if not group or group not in special]


def read_alert_settings(section: Mapping[str, object]) -> AlertSettings:
    """The sub-section as written.

    Raises:
        ConfigurationError: A value is wrong, or a rule can never fire; names the rule.
    """
    try:
        return AlertSettings.model_validate(section)
    except ValidationError as error:
        raise ConfigurationError(f"[devices.alerts] {describe_validation(error)}") from None


def find_rule_breakers(rows: pa.RecordBatch, rules: Iterable[AlertRule]) -> list[str]:
    """Devices with a value in these records that breaks a rule of anybody, each once.

    Args:
        rows: Content columns of `devices.records`.
    """
    broken: pa.Array | None = None
    for metric, bounds in _bounds(rules).items():
        values = rows.column(metric).cast(pa.float64())
        for low, high in bounds:
            for found in (
                None if low is None else pc.less(values, low),
                None if high is None else pc.greater(values, high),
            ):
                if found is not None:
                    broken = found if broken is None else pc.or_kleene(broken, found)
    if broken is None or not pc.any(broken).as_py():
        return []
    names: list[str] = rows.column("device_sn").filter(broken).unique().to_pylist()
    return names


def _bounds(rules: Iterable[AlertRule]) -> dict[str, set[tuple[float | None, float | None]]]:
    found: dict[str, set[tuple[float | None, float | None]]] = {}
    for rule in rules:
        found.setdefault(rule.metric, set()).add((rule.min, rule.max))
    return found


def rules_as_json(settings: AlertSettings) -> Sequence[Mapping[str, object]]:
    """Rules as the statements that follow runs of records read them."""
    return [
        {
            "rule": rule.name,
            "metric": rule.metric,
            "severity": rule.severity,
            "lowest": rule.min,
            "highest": rule.max,
            "allowed": rule.allowed,
            "records": rule.records,
            "seconds": rule.for_seconds,
            "groups": settings.groups_of(rule),
        }
        for rule in settings.rules
    ]
