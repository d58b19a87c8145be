"""Everything the status page shows, read together and shared by all who look.

However many browsers follow the page, the database is asked about once a second.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from batch_assets.monitoring.alert_rules import Alert
from batch_assets.ops.backfills.read import list_backfills, list_paused_feeds, read_progress
from batch_assets.ops.backfills.values import Backfill, Progress
from batch_assets.ops.resources import ResourceMeter, SystemUse
from batch_assets.ops.service import read_daemon_silence
from batch_assets.ops.status.alerts import read_shown_alerts
from batch_assets.ops.status.feeds import FeedStatus, read_feeds
from batch_assets.ops.status.loads import (
    Failure,
    OpenLetters,
    TableActivity,
    read_activity,
    read_failures,
    read_open_letters,
)
from batch_assets.ops.status.server import ServerUse, read_server_use
from batch_assets.runs.eta_records import KeptEstimates
from batch_assets.settings import Settings

SHOWN_HISTORY = 10
# More than a person launches at a time; the page says when there are more.
SHOWN_RUNNING = 50
# Younger answers are given again.
_FRESH_SECONDS = 1.0
_KEPT_ENDED = 200

Transaction = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of everything at one moment.

    Attributes:
        running: Backfills that have not ended, newest first.
        history: The newest that have.
        paused: Paused feeds: who and since when, by name.
        daemon_silence_seconds: Since Dagster's daemon was last heard of; None for never.
    """

    read_at: datetime
    feeds: list[FeedStatus]
    running: list[Progress]
    history: list[Progress]
    failures: list[Failure]
    letters: list[OpenLetters]
    activity: list[TableActivity]
    alerts: list[Alert]
    system: SystemUse
    server: ServerUse
    paused: dict[str, tuple[str, datetime]]
    daemon_silence_seconds: float | None


class OverviewReader:
    """Reads overviews, at most one at a time, and keeps what cannot change any more."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._meter = ResourceMeter()
        self._lock = threading.Lock()
        self._newest: Overview | None = None
        self._read_seconds = 0.0
        self._ended: OrderedDict[int, Progress] = OrderedDict()
        self._estimates = KeptEstimates()

    def read(self, transaction: Transaction, *, is_fresh: bool = False) -> Overview:
        """The overview, at most a second old.

        Args:
            transaction: Gives a connection.
            is_fresh: Look again in any case: somebody has just changed something.
        """
        with self._lock:
            is_young = time.monotonic() - self._read_seconds < _FRESH_SECONDS
            if self._newest is None or is_fresh or not is_young:
                with transaction() as conn:
                    self._newest = self._read(conn)
                self._read_seconds = time.monotonic()
            return self._newest

    def _read(self, conn: psycopg.Connection) -> Overview:
        now = self._now()
        paused = {feed: (who, since) for feed, who, since in list_paused_feeds(conn)}
        unfinished = list_backfills(conn, is_unfinished=True, limit=SHOWN_RUNNING)
        newest = list_backfills(conn, limit=SHOWN_RUNNING + SHOWN_HISTORY)
        ended = [backfill for backfill in newest if backfill.state.is_final][:SHOWN_HISTORY]
        return Overview(
            read_at=now,
            feeds=read_feeds(
                conn, self._settings, now, {name: who for name, (who, _) in paused.items()}
            ),
            running=[
                read_progress(conn, one.backfill_id, now, self._estimates) for one in unfinished
            ],
            history=[self._read_ended(conn, one, now) for one in ended],
            failures=read_failures(conn),
            letters=read_open_letters(conn),
            activity=read_activity(conn),
            alerts=read_shown_alerts(conn, now),
            system=self._meter.read().system,
            server=read_server_use(conn),
            paused=paused,
            daemon_silence_seconds=read_daemon_silence(conn),
        )

    def _read_ended(self, conn: psycopg.Connection, backfill: Backfill, now: datetime) -> Progress:
        known = self._ended.get(backfill.backfill_id)
        if known is None:
            known = read_progress(conn, backfill.backfill_id, now)
            self._ended[backfill.backfill_id] = known
            while len(self._ended) > _KEPT_ENDED:
                self._ended.popitem(last=False)
        return known
