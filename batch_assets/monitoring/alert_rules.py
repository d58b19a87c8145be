"""What becomes of alerts, decided from samples alone. Pure functions.

A limit must be passed without a break for `for_seconds`, and kept for `keep_seconds` before the
alert ends, so that a value that swings about its limit tells people twice, not every minute.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from batch_assets.monitoring.metrics import Sample
from batch_assets.monitoring.settings import RuleSettings, Severity


class MessageKind(StrEnum):
    """What people are told."""

    FIRED = "fired"
    RAISED = "raised"
    RESOLVED = "resolved"


class AlertState(StrEnum):
    """How far an alert is."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One row of ops.alerts.

    Attributes:
        alert_id: None before it is stored.
        subject: Labels of the sample.
        allowed: The limit that was passed.
        resolution: normal, absent or no_rule; None before the end.
    """

    rule: str
    subject: str
    metric: str
    severity: Severity
    state: AlertState
    value: float
    allowed: float
    broken_since: datetime
    alert_id: int | None = None
    critical_since: datetime | None = None
    quiet_since: datetime | None = None
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    resolution: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What there is one open alert for."""
        return self.rule, self.subject


@dataclass(frozen=True, slots=True)
class Change:
    """An alert as it is to be stored, and what people are told.

    Attributes:
        is_forgotten: It never fired and is over: nothing of it is kept.
        names: Of what the sample counts, the first ones.
    """

    alert: Alert
    message: MessageKind | None = None
    is_forgotten: bool = False
    names: tuple[str, ...] = ()


def evaluate_alerts(
    rules: Mapping[str, RuleSettings],
    samples: Sequence[Sample],
    open_alerts: Sequence[Alert],
    now: datetime,
) -> list[Change]:
    """Judge all rules; alerts about which there is nothing to store are left out."""
    known = {alert.key: alert for alert in open_alerts}
    changes: list[Change] = []
    measured: set[tuple[str, str]] = set()
    for name, rule in rules.items():
        if not rule.is_on:
            continue
        for sample in _samples_of(rule, samples):
            key = (name, sample.subject)
            measured.add(key)
            changes.extend(
                replace(change, names=sample.names)
                for change in _judge(name, rule, sample, known.get(key), now)
            )
    for key, alert in known.items():
        if key not in measured:
            written = rules.get(alert.rule)
            is_on = written is not None and written.is_on
            changes.append(_end(alert, "absent" if is_on else "no_rule", now))
    return changes


def _samples_of(rule: RuleSettings, samples: Sequence[Sample]) -> Iterator[Sample]:
    for sample in samples:
        if sample.metric == rule.metric and all(
            sample.labels.get(name) == value for name, value in rule.where.items()
        ):
            yield sample


def _limits(rule: RuleSettings, sample: Sample) -> tuple[float | None, float | None]:
    for value in sample.labels.values():
        if value in rule.above:
            return None, rule.above[value]
    return rule.warning_above, rule.critical_above


def _judge(
    name: str, rule: RuleSettings, sample: Sample, alert: Alert | None, now: datetime
) -> Iterator[Change]:
    warning, critical = _limits(rule, sample)
    is_critical = critical is not None and sample.value > critical
    is_broken = is_critical or (warning is not None and sample.value > warning)
    if not is_broken:
        if alert is not None:
            yield _quiet(alert, rule, now)
        return
    if alert is None:
        alert = Alert(
            name, sample.subject, rule.metric, "warning", AlertState.PENDING, 0.0, 0.0, now
        )
    critical_since = (alert.critical_since or now) if is_critical else None
    alert = replace(alert, value=sample.value, critical_since=critical_since, quiet_since=None)
    wait = timedelta(seconds=rule.for_seconds)
    is_long_critical = critical_since is not None and now - critical_since >= wait
    severity: Severity = "critical" if is_long_critical or warning is None else "warning"
    limit = critical if severity == "critical" else warning
    alert, before = replace(alert, allowed=limit or 0.0), alert
    if before.state is AlertState.PENDING:
        if now - alert.broken_since >= wait:
            fired = replace(alert, state=AlertState.FIRING, severity=severity, fired_at=now)
            yield Change(fired, MessageKind.FIRED)
        else:
            yield Change(replace(alert, severity=severity))
        return
    is_raised = severity == "critical" and before.severity == "warning"
    yield Change(replace(alert, severity=severity), MessageKind.RAISED if is_raised else None)


def _quiet(alert: Alert, rule: RuleSettings, now: datetime) -> Change:
    # Without a break: one value within the limit begins a pending alert's time anew.
    if alert.state is AlertState.PENDING:
        return Change(alert, is_forgotten=True)
    since = alert.quiet_since or now
    alert = replace(alert, quiet_since=since, critical_since=None)
    if now - since >= timedelta(seconds=rule.keep_seconds):
        return _end(alert, "normal", now)
    return Change(alert)


def _end(alert: Alert, resolution: str, now: datetime) -> Change:
    if alert.state is AlertState.PENDING:
        return Change(alert, is_forgotten=True)
    ended = replace(alert, state=AlertState.RESOLVED, resolved_at=now, resolution=resolution)
    return Change(ended, MessageKind.RESOLVED)
