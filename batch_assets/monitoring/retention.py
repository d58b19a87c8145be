"""Forget what is recorded, table by table, in small transactions.

A rule is a table and a condition on its row `t`. Counting and deleting use the same condition, and
deleting tests it again on the locked row. Open dead letters and the newest load of a window are in
no condition's reach.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from batch_assets.loading.leases import Connector
from batch_assets.monitoring.retention_settings import RetentionSettings
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query

_OF_PLAN = sql.SQL(
    "EXISTS (SELECT FROM ops.plans AS p WHERE p.plan_id = t.plan_id AND p.planned_at < %(before)s)"
)
_OF_BACKFILL = sql.SQL(
    "EXISTS (SELECT FROM ops.backfills AS b"
    " WHERE b.backfill_id = t.backfill_id AND b.ended_at < %(before)s)"
)
_ANSWERED = sql.SQL("t.state <> 'open' AND coalesce(t.resolved_at, t.last_seen_at) < %(before)s")
_NOT_OWED = sql.SQL("isempty(t.owed_days) AND t.answered_at < %(before)s")


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What may go from one table.

    Attributes:
        table: With its schema.
        condition: On the row `t`; `%(before)s` is the moment.
        days: Kept so long; 0 is for ever.
    """

    table: str
    condition: sql.Composable
    days: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go.

    Attributes:
        what: A table, or what else was removed.
        count: Rows; or tables, or folders.
        before: Older than this.
    """

    what: str
    count: int
    before: datetime


def retention_rules(kept: RetentionSettings, batch_metrics_days: int) -> list[RetentionRule]:
    """Rules of our own tables, in the order in which rows may go: what refers before what is."""
    return [
        RetentionRule("ops.plan_windows", _OF_PLAN, kept.plans_days),
        RetentionRule("ops.plans", _older("planned_at"), kept.plans_days),
        RetentionRule("ops.backfill_partitions", _OF_BACKFILL, kept.backfills_days),
        RetentionRule("ops.backfill_segments", _OF_BACKFILL, kept.backfills_days),
        RetentionRule("ops.backfill_runs", _OF_BACKFILL, kept.backfills_days),
        RetentionRule("ops.eta_accuracy", _OF_BACKFILL, kept.backfills_days),
        RetentionRule("ops.backfills", _older("ended_at"), kept.backfills_days),
        RetentionRule("ops.dead_letters", _ANSWERED, kept.dead_letters_days),
        RetentionRule("ops.batch_metrics", _older("finished_at"), batch_metrics_days),
        # Their messages go with them.
        RetentionRule("ops.alerts", _older("resolved_at"), kept.alerts_days),
        RetentionRule("ops.audit", _older("happened_at"), kept.audit_days),
        RetentionRule("ops.run_workers", _older("recorded_at"), kept.run_workers_days),
        RetentionRule("devices.alerts", _older("resolved_at"), kept.device_alerts_days),
        RetentionRule(
            "devices.shadow_differences", _older("seen_at"), kept.shadow_differences_days
        ),
        RetentionRule("market.failed_symbols", _NOT_OWED, kept.failed_symbols_days),
        RetentionRule("market.daily_bars_history", _older("known_to"), kept.history_days),
        # Last: backfills keep the loads of their runs.
        RetentionRule("ops.loads", read_query("old_loads"), kept.loads_days),
    ]


def _older(column: str) -> sql.Composable:
    return sql.SQL("t.{} < %(before)s").format(sql.Identifier(column))


def prune_tables(
    connect: Connector,
    rules: Sequence[RetentionRule],
    now: datetime,
    *,
    batch_rows: int,
    dry_run: bool,
) -> Iterator[Pruned]:
    """Delete what each rule lets go, or count it.

    Args:
        connect: Opens a connection.
        rules: In order.
        now: The present.
        batch_rows: Deleted in one transaction.
        dry_run: Count, and delete nothing.

    Yields:
        One result a rule that has an end of its days, when it is done.

    Raises:
        DatabaseUnavailable: The database failed; batches before are gone.
    """
    with translating_errors(), connect() as conn:
        conn.autocommit = True
        for rule in rules:
            if rule.days:
                before = now - timedelta(days=rule.days)
                counting = _count if dry_run else _delete
                yield Pruned(rule.table, counting(conn, rule, before, batch_rows), before)


def _count(conn: psycopg.Connection, rule: RetentionRule, before: datetime, _: int) -> int:
    statement = sql.SQL("SELECT count(*) FROM {} AS t WHERE {}").format(_name(rule), rule.condition)
    row = conn.execute(statement, {"before": before}).fetchone()
    return int(row[0]) if row else 0


def _delete(
    conn: psycopg.Connection, rule: RetentionRule, before: datetime, batch_rows: int
) -> int:
    statement = sql.SQL(
        "DELETE FROM {0} AS t WHERE t.ctid = ANY (ARRAY("
        "SELECT t.ctid FROM {0} AS t WHERE ({1}) LIMIT %(most)s)) AND ({1})"
    ).format(_name(rule), rule.condition)
    total = 0
    while True:
        deleted = conn.execute(statement, {"before": before, "most": batch_rows}).rowcount
        total += deleted
        if deleted < batch_rows:
            return total


def _name(rule: RetentionRule) -> sql.Identifier:
    return sql.Identifier(*rule.table.split("."))
