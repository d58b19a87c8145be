"""Alerts that fire now or ended lately. Evaluating them belongs in monitoring/."""

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from batch_assets.postgres.sql_files import read_query

SHOWN_ALERTS = 12


@dataclass(frozen=True, slots=True)
class AlertShown:
    """One alert.

    Attributes:
        subject: Labels of the metric; empty where it has none.
        value: What was measured last while the rule was broken.
        allowed: The limit of its severity.
    """

    rule: str
    subject: str
    metric: str
    severity: str
    state: str
    value: float
    allowed: float
    fired_at: datetime
    resolved_at: datetime | None

    @property
    def is_firing(self) -> bool:
        """Whether it has not ended."""
        return self.resolved_at is None


def read_alerts(conn: psycopg.Connection) -> list[AlertShown]:
    """Alerts that fire, the worst first, then those that ended within a day."""
    with conn.cursor(row_factory=class_row(AlertShown)) as cursor:
        return cursor.execute(
            read_query("read_shown_alerts"), {"limit": SHOWN_ALERTS}
        ).fetchall()
