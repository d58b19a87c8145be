"""One look at the alerts: evaluate if it is time, commit, send. Driven by sensor and API alike.

Evaluating and storing are one transaction, which this module owns; sending comes after its commit.
"""

import logging
import os
import platform
import threading
from dataclasses import dataclass
from datetime import datetime

import psycopg

from batch_assets.errors import BatchAssetsError
from batch_assets.loading.leases import Connector
from batch_assets.monitoring.alert_rules import AlertState, Change, MessageKind
from batch_assets.monitoring.alerts import claim_evaluation, update_alerts
from batch_assets.monitoring.delivery import Delivery, deliver_messages
from batch_assets.monitoring.settings import message_language, read_alert_settings
from batch_assets.monitoring.snapshot import read_snapshot
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """What one look did.

    Attributes:
        is_evaluated: False where somebody else did so lately.
        fired: Alerts that began to fire, or became critical.
        resolved: Alerts that ended.
        firing: Alerts that fire now.
        delivery: Messages sent and not sent.
    """

    is_evaluated: bool
    fired: int
    resolved: int
    firing: int
    delivery: Delivery


def watch_alerts(
    connect: Connector, settings: Settings, actor: str, *, now: datetime | None = None
) -> Watched:
    """Look once.

    Args:
        connect: Opens a connection to the migrated database.
        settings: Whose rules, channels and secrets.
        actor: Shown in ops.alert_clock, with host and process.
        now: The present; the database's where absent.

    Raises:
        ConfigurationError: `[alerts]` is not as it must be.
        DatabaseUnavailable: The database does not answer.
    """
    alerts = read_alert_settings(settings)
    changes: list[Change] | None = None
    with translating_errors(), connect() as conn:
        who = f"{actor} {platform.node()}:{os.getpid()}"
        present = claim_evaluation(conn, who, alerts.evaluate_seconds, now)
        if present is not None:
            changes = update_alerts(
                conn,
                alerts.rules,
                read_snapshot(conn, settings, present),
                present,
                channels=alerts.channels,
                language=message_language(settings),
            )
    delivery = deliver_messages(connect, alerts, settings.secret)
    told = [change.message for change in changes or []]
    return Watched(
        is_evaluated=changes is not None,
        fired=told.count(MessageKind.FIRED) + told.count(MessageKind.RAISED),
        resolved=told.count(MessageKind.RESOLVED),
        firing=sum(change.alert.state is AlertState.FIRING for change in changes or []),
        delivery=delivery,
    )


def watch_until(stop: threading.Event, connect: Connector, settings: Settings, actor: str) -> None:
    """Look every `evaluate_seconds` until `stop` is set; a failure is logged, and time goes on."""
    interval = read_alert_settings(settings).evaluate_seconds
    while not stop.wait(interval):
        try:
            watch_alerts(connect, settings, actor)
        # A right or a table that is missing: told each time, and mended by a person.
        except (BatchAssetsError, psycopg.Error):
            logger.warning("alerts were not evaluated", exc_info=True)
