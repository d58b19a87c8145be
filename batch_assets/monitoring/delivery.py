"""Send the messages about alerts: after the commit that made them, at least once, in order.

A message is claimed before it is sent: another process leaves it alone for a while. Whoever dies
between sending and noting that leaves a copy to be sent; receivers tell copies by its number.
"""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg

from batch_assets.errors import BatchAssetsError, ConfigurationError
from batch_assets.loading.leases import Connector
from batch_assets.monitoring.channels import Secrets, send_message
from batch_assets.monitoring.settings import AlertSettings, Channel
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query

logger = logging.getLogger(__name__)

_MESSAGES_MOST = 50
_FIRST_WAIT_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 300.0
# Longer than any time-out of a channel allows one message to take.
_CLAIM_MARGIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Message:
    message_id: int
    channel: str
    kind: str
    payload: Mapping[str, object]
    attempts: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the messages that were due."""

    sent: int = 0
    failed: int = 0


def deliver_messages(connect: Connector, alerts: AlertSettings, secret: Secrets) -> Delivery:
    """Send what is due; what a channel refuses waits, doubled each time, with jitter.

    Args:
        connect: Opens a connection.
        alerts: Its channels.
        secret: Gives what an environment variable holds.

    Raises:
        DatabaseUnavailable: The database does not answer; messages may be sent again.
    """
    sent = failed = 0
    with translating_errors(), connect() as conn:
        conn.autocommit = True
        for _ in range(_MESSAGES_MOST):
            message = _claim(conn, alerts)
            if message is None:
                break
            if _deliver(conn, message, alerts, secret):
                sent += 1
            else:
                failed += 1
    return Delivery(sent, failed)


def _claim(conn: psycopg.Connection, alerts: AlertSettings) -> _Message | None:
    # One by one: a claim is then never older than one time-out.
    longest = max((_timeout_seconds(one) for one in alerts.channels.values()), default=0.0)
    row = conn.execute(
        read_query("claim_alert_messages"),
        {"most": 1, "claim_seconds": 2 * longest + _CLAIM_MARGIN_SECONDS},
    ).fetchone()
    return _Message(*row) if row else None


def _timeout_seconds(channel: Channel) -> float:
    return getattr(channel, "timeout_seconds", 0.0)


def _deliver(
    conn: psycopg.Connection, message: _Message, alerts: AlertSettings, secret: Secrets
) -> bool:
    channel = alerts.channels.get(message.channel)
    try:
        if channel is None:
            raise ConfigurationError(
                f"[alerts.channels] has no {message.channel!r} any more; nobody is told"
            )
        send_message(channel, message.payload, message.message_id, secret)
    except BatchAssetsError as error:
        _note_failure(conn, message, str(error), alerts, is_final=channel is None)
        return False
    conn.execute(
        "UPDATE ops.alert_messages SET sent_at = clock_timestamp(), last_error = NULL"
        " WHERE message_id = %s",
        (message.message_id,),
    )
    return True


def _note_failure(
    conn: psycopg.Connection,
    message: _Message,
    error: str,
    alerts: AlertSettings,
    *,
    is_final: bool,
) -> None:
    # Without the bound on the exponent a long outage would overflow the float.
    doubled = _FIRST_WAIT_SECONDS * 2 ** min(message.attempts - 1, 20)
    wait_seconds = min(_LONGEST_WAIT_SECONDS, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    row = conn.execute(
        read_query("note_alert_failure"),
        {
            "message_id": message.message_id,
            "error": error,
            "wait_seconds": wait_seconds,
            "is_final": is_final,
            "attempts_seconds": alerts.attempts_seconds,
        },
    ).fetchone()
    is_given_up = row is not None and row[0]
    logger.log(
        logging.ERROR if is_given_up else logging.WARNING,
        "alert message %d for channel %s was not sent (attempt %d)%s: %s",
        message.message_id,
        message.channel,
        message.attempts,
        " and is given up" if is_given_up else "",
        error,
    )
