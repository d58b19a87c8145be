"""What follows from records beside the tables: alerts, and messages to be sent after the commit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.loading.batch_metrics import BatchClock, Stage
from batch_assets.loading.device_alerts import (
    follow_device_alerts,
    list_watched_devices,
    queue_device_messages,
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


def write_effects(
    conn: psycopg.Connection,
    load_id: int,
    rows: pa.RecordBatch,
    effects: DeviceEffects,
    clock: BatchClock,
) -> None:
    """Follow the records just written, in their transaction; before `devices.latest` is advanced.

    Args:
        rows: Those that were handed over to be written; copies and known ones among them.
        clock: Told what each of them took.
    """
    with clock.measure(Stage.ALERTS):
        device_groups = _concerned(conn, rows, effects.alerts)
        if device_groups:
            stage_device_messages(conn)
            follow_device_alerts(conn, load_id, rules_as_json(effects.alerts), device_groups)
    has_states = "redis" in effects.destinations and _has_states(rows)
    if effects.destinations and (device_groups or has_states):
        with clock.measure(Stage.OUTBOX):
            stage_device_messages(conn)
            if has_states:
                queue_device_states(conn)
            queue_device_messages(conn, load_id, effects.destinations)


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
