"""Alerts a person is to see: what fires now, and what ended within a day."""

from datetime import datetime, timedelta

import psycopg

from batch_assets.monitoring.alert_rules import Alert
from batch_assets.monitoring.alerts import read_alerts

_SHOWN_AFTER_ITS_END = timedelta(days=1)


def read_shown_alerts(conn: psycopg.Connection, now: datetime) -> list[Alert]:
    """Alerts that fire, critical ones first, then those that ended within a day."""
    firing = read_alerts(conn, is_open=True)
    firing.sort(key=lambda alert: alert.severity != "critical")
    ended = [
        alert
        for alert in read_alerts(conn)
        if alert.resolved_at is not None and now - alert.resolved_at < _SHOWN_AFTER_ITS_END
    ]
    return firing + ended
