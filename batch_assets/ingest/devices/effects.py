"""What follows from records beside the tables: alerts, and messages to be sent after the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from batch_assets.loading.batch_metrics import BatchClock, Stage
from batch_assets.loading.device_alerts import (
    follow_device_alerts,
    list_watched_devices,
    queue_device_messages,
    queue_device_period_states,
    queue_device_states,
    stage_device_messages,
)
from batch_assets.settings import Settings
from batch_assets.sources.devices.alert_rules import (
    AlertSettings,
    find_rule_breakers,
    read_alert_settings,
    rules_as_json,
)
from batch_assets.sources.devices.settings import read_device_settings


@dataclass(frozen=True, slots=True)
class DeviceEffects:
    """What is done besides storing records.

    Attributes:
        alerts: Rules about values.
        destinations: Where messages go (`redis`, `webhook`); none are kept for others.
    """

    alerts: AlertSettings = field(default_factory=AlertSettings)
    destinations: tuple[str, ...] = ()


def read_device_effects(settings: Settings) -> DeviceEffects:
    """The effects that the configuration and the environment ask for.

    Raises:
        ConfigurationError: A rule is wrong, or can never fire.
    """
    section = read_device_settings(settings)
    alerts = read_alert_settings(section.alerts)
    named = {"redis": section.redis_url_env, "webhook": alerts.webhook_url_env}
    return DeviceEffects(
        alerts,
        tuple(name for name, variable in named.items() if variable and settings.secret(variable)),
    )


@dataclass(slots=True)
class PartEffects:
    """Follows the rows of one part, in their transaction.

    Attributes:
        clock: Told what each of them took.
    """

    conn: psycopg.Connection
    load_id: int
    effects: DeviceEffects
    clock: BatchClock
    _has_messages: bool = False

    def follow_records(self, rows: pa.RecordBatch) -> None:
        """Follow the records just written; before `devices.latest` is advanced.

        Args:
            rows: Those that were handed over to be written; copies and known ones among them.
        """
        alerts = self.effects.alerts
        with self.clock.measure(Stage.ALERTS):
            device_groups = _concerned(self.conn, rows, alerts)
            if device_groups:
                self._stage()
                follow_device_alerts(self.conn, self.load_id, rules_as_json(alerts), device_groups)
        if self._tells(rows):
            with self.clock.measure(Stage.OUTBOX):
                self._stage()
                queue_device_states(self.conn)

    def follow_periods(self, target: sql.Identifier, rows: pa.RecordBatch) -> None:
        """Follow the days or weeks just staged; before they are merged into `target`."""
        if self._tells(rows):
            with self.clock.measure(Stage.OUTBOX):
                self._stage()
                queue_device_period_states(self.conn, target, rows.schema.names[1])

    def queue_messages(self) -> None:
        """Put what follows from all rows into the outbox, in order per device; after the others."""
        if self._has_messages and self.effects.destinations:
            with self.clock.measure(Stage.OUTBOX):
                queue_device_messages(self.conn, self.load_id, self.effects.destinations)

    def _stage(self) -> None:
        if not self._has_messages:
            stage_device_messages(self.conn)
        self._has_messages = True

    def _tells(self, rows: pa.RecordBatch) -> bool:
        return "redis" in self.effects.destinations and _has_states(rows)


def _concerned(
    conn: psycopg.Connection, rows: pa.RecordBatch, alerts: AlertSettings
) -> Mapping[str, str]:
    """The group of each device that an alert may be opened or resolved for; most are not there."""
    names = set(find_rule_breakers(rows, alerts.rules))
    names.update(list_watched_devices(conn, rows.column("device_sn").unique().to_pylist()))
    return {name: alerts.group_of(name) for name in sorted(names)}


def _has_states(rows: pa.RecordBatch) -> bool:
    extra = rows.column("extra")
    if extra.null_count == len(extra):
        return False
    return bool(pc.any(pc.match_substring(extra, '"redis_data"')).as_py())
