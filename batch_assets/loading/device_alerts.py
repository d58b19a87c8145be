"""Alerts about values of devices, and messages about them, in the caller's transaction.

Both follow from the records that a part has really written (`device_tables.py`). What a rule is
belongs in `sources/devices/alert_rules.py`; sending messages in `ingest/devices/relay.py`.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from batch_assets.postgres.sql_files import read_query

_AFTER_RUNS: tuple[LiteralString, ...] = (
    "resolve_device_alerts",
    "open_device_alerts",
    "keep_device_runs",
)


def list_watched_devices(conn: psycopg.Connection, device_sns: Sequence[str]) -> list[str]:
    """Those of these devices whose newest records broke a rule: what they send next matters."""
    rows = conn.execute(
        "SELECT DISTINCT device_sn FROM devices.alert_runs WHERE device_sn = ANY (%s)",
        (list(device_sns),),
    ).fetchall()
    return [name for (name,) in rows]


def stage_device_messages(conn: psycopg.Connection) -> None:
    """Make the temporary tables of this connection, once; they empty themselves at each commit."""
    conn.execute("SET LOCAL client_min_messages = warning")
    conn.execute(read_query("stage_device_alerts"))


def follow_device_alerts(
    conn: psycopg.Connection,
    load_id: int,
    rules: Sequence[Mapping[str, object]],
    device_groups: Mapping[str, str],
) -> None:
    """Open and resolve alerts by the records just written.

    Args:
        rules: `rule`, `metric`, `severity`, `lowest`, `highest`, `allowed`, `records`, `seconds`
            and `groups` of each.
        device_groups: The group of every device that a rule may concern; others are not looked at.
    """
    parameters = {
        "load_id": load_id,
        "rules": Jsonb(list(rules)),
        "devices": list(device_groups),
        "device_groups": list(device_groups.values()),
    }
    conn.execute(read_query("follow_device_runs"), parameters)
    for name in _AFTER_RUNS:
        conn.execute(read_query(name), parameters)


def queue_device_states(conn: psycopg.Connection) -> None:
    """Take up the `redis_data` of the records just written; before `devices.latest` is advanced."""
    conn.execute(read_query("queue_device_states"))


def queue_device_period_states(
    conn: psycopg.Connection, target: sql.Identifier, period: str
) -> None:
    """Take up the `redis_data` of the days or weeks just staged; before they are merged.

    Args:
        target: `devices.daily_supplied` or `devices.weekly_supplied`.
        period: Its second column.
    """
    statement = read_query("queue_device_period_states")
    conn.execute(statement.format(table=target, period=sql.Identifier(period)))


def queue_device_messages(
    conn: psycopg.Connection, load_id: int, destinations: Sequence[str]
) -> int:
    """Put what was taken up into the outbox, for each of the destinations.

    Returns:
        How many messages.
    """
    return conn.execute(
        read_query("queue_device_messages"),
        {"load_id": load_id, "destinations": list(destinations)},
    ).rowcount
