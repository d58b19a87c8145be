"""Alerts as they are kept: evaluated once whoever asks, stored with the messages about them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from batch_assets.monitoring.alert_rules import (
    Alert,
    AlertState,
    Change,
    MessageKind,
    evaluate_alerts,
)
from batch_assets.monitoring.messages import Language, build_message
from batch_assets.monitoring.metrics import Sample
from batch_assets.monitoring.settings import Channel, RuleSettings
from batch_assets.postgres.sql_files import read_query

# An operator's page of them; open ones are always read whole.
DEFAULT_LIMIT = 50
_EVERY_ALERT = 1_000_000


def claim_evaluation(
    conn: psycopg.Connection, actor: str, every_seconds: float, now: datetime | None = None
) -> datetime | None:
    """Take the right to evaluate, until the caller's transaction ends.

    Args:
        conn: The caller commits.
        actor: Shown in ops.alert_clock.
        every_seconds: An evaluation that is younger is enough.
        now: The present; the database's where absent.

    Returns:
        The present; None where somebody else evaluates, or did lately.
    """
    row = conn.execute(
        "SELECT coalesce(%(now)s, clock_timestamp()) FROM ops.alert_clock WHERE evaluated_at"
        " <= coalesce(%(now)s, clock_timestamp()) - make_interval(secs => %(every_seconds)s)"
        " FOR UPDATE SKIP LOCKED",
        {"now": now, "every_seconds": every_seconds},
    ).fetchone()
    if row is None:
        return None
    present: datetime = row[0]
    conn.execute(
        "UPDATE ops.alert_clock SET evaluated_at = %s, evaluated_by = %s", (present, actor)
    )
    return present


def read_alerts(
    conn: psycopg.Connection,
    *,
    is_open: bool = False,
    with_pending: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> list[Alert]:
    """Alerts, newest first.

    Args:
        is_open: Only those that have not ended.
        with_pending: Also those that have not lasted long enough to fire.
        limit: The most to return.
    """
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            read_query("read_alerts"),
            {"is_open": is_open, "with_pending": with_pending, "limit": limit},
        ).fetchall()
    return [Alert(**{**row, "state": AlertState(row["state"])}) for row in rows]


def update_alerts(
    conn: psycopg.Connection,
    rules: Mapping[str, RuleSettings],
    samples: Sequence[Sample],
    now: datetime,
    *,
    channels: Mapping[str, Channel],
    language: Language,
) -> list[Change]:
    """Judge the rules, and store what has changed with the messages about it.

    Args:
        conn: The caller commits; after `claim_evaluation` in the same transaction.
        rules: Of `[alerts]`.
        samples: All there are.
        now: The present.
        channels: Who is told.
        language: In which.
    """
    known = read_alerts(conn, is_open=True, with_pending=True, limit=_EVERY_ALERT)
    changes = evaluate_alerts(rules, samples, known, now)
    for change in changes:
        _store(conn, change, now, channels=channels, language=language)
    return changes


def _store(
    conn: psycopg.Connection,
    change: Change,
    now: datetime,
    *,
    channels: Mapping[str, Channel],
    language: Language,
) -> None:
    alert = change.alert
    if change.is_forgotten:
        conn.execute("DELETE FROM ops.alerts WHERE alert_id = %s", (alert.alert_id,))
        return
    query = "open_alert" if alert.alert_id is None else "update_alert"
    row = conn.execute(read_query(query), asdict(alert)).fetchone()
    if change.message is None or row is None:
        return
    payload = build_message(alert, change.message, language, now, change.names)
    for name, channel in channels.items():
        if _is_told(conn, name, channel, change.message, alert, row[0]):
            conn.execute(
                "INSERT INTO ops.alert_messages (alert_id, channel, kind, payload)"
                " VALUES (%s, %s, %s, %s)",
                (row[0], name, change.message.value, Jsonb({**payload, "alert_id": row[0]})),
            )


def _is_told(
    conn: psycopg.Connection,
    name: str,
    channel: Channel,
    kind: MessageKind,
    alert: Alert,
    alert_id: int,
) -> bool:
    """Of the end of an alert whoever heard of its begin is told, though it was lowered since."""
    if kind is not MessageKind.RESOLVED:
        return alert.severity in channel.severities
    told = conn.execute(
        "SELECT 1 FROM ops.alert_messages WHERE alert_id = %s AND channel = %s LIMIT 1",
        (alert_id, name),
    ).fetchone()
    return told is not None
