"""A database as a busy morning leaves it: for tests of the status page, and for its pictures."""

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg.types.json import Jsonb

from batch_assets.ops.backfills.changes import pause, pause_feed
from batch_assets.ops.backfills.requests import launch
from batch_assets.ops.backfills.values import BackfillRequest
from batch_assets.postgres.connect import connect
from batch_assets_tests.ops.backfills.planted import plant_run

# A Thursday, when Shanghai has closed and New York has not opened.
NOW = datetime(2024, 10, 17, 9, 30, tzinfo=UTC)

CONFIGURATION = """
[display]
time_zone = "Asia/Shanghai"
dagster_url = "https://dagster.example"
[alerts]
is_on = false
[market]
default_feed = "cn"
[market.feeds.cn]
folder = "cn"
layout = "by_day"
files = "{date}.csv"
calendar = "XSHG"
[market.feeds.us]
folder = "us"
layout = "by_day"
files = "{date}.csv"
calendar = "XNYS"
[market.feeds.hk]
folder = "hk"
layout = "by_day"
files = "{date}.csv"
calendar = "XHKG"
[market.feeds.crypto]
folder = "crypto"
layout = "by_day"
files = "{date}.csv"
calendar = "24/7"
"""


def days(first: date, count: int) -> tuple[str, ...]:
    return tuple((first + timedelta(days=number)).isoformat() for number in range(count))


def request(feed: str, keys: tuple[str, ...]) -> BackfillRequest:
    return BackfillRequest(
        asset_key=f"market/{feed}/daily_bars",
        feed=feed,
        target="market.daily_bars",
        scope=feed,
        keys=keys,
    )


class Scene:
    """Plants what runs would have written."""

    def __init__(self, conn: psycopg.Connection, now: datetime = NOW) -> None:
        self.conn = conn
        self.now = now

    def load(
        self,
        feed: str,
        key: str,
        state: str = "success",
        *,
        run_id: str | None = None,
        target: str = "market.daily_bars",
        rows: int = 5_342,
        rejected: int = 0,
        error: tuple[str, str] | None = None,
        minutes_ago: float = 60.0,
        seconds: float = 9.0,
        file: str | None = None,
    ) -> None:
        """A load of one window; `running` has no end."""
        is_over = state != "running"
        good = state == "success"
        started = self.now - timedelta(minutes=minutes_ago)
        self.conn.execute(
            "INSERT INTO ops.loads (target, scope, window_key, resource, state, rows_read,"
            " rows_inserted, rows_rejected, run_id, error_class, error_message, source_file,"
            " started_at, finished_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                target,
                feed,
                key,
                f"{target}/{feed}/{key}",
                state,
                rows if good else rejected,
                rows - rejected if good else 0,
                rejected,
                run_id,
                *(error or (None, None)),
                file,
                started,
                started + timedelta(seconds=seconds) if is_over else None,
            ),
        )

    def window(self, feed: str, key: str, *, rows: int, hours_ago: float) -> None:
        """What is known of a stored day."""
        self.conn.execute(
            "INSERT INTO ops.windows (target, scope, window_key, row_count, contract_version,"
            " load_id, published_at) VALUES ('market.daily_bars', %s, %s, %s, 'v1', 1, %s)",
            (feed, key, rows, self.now - timedelta(hours=hours_ago)),
        )

    def letters(self, target: str, rule: str, count: int, *, days_ago: float) -> None:
        """Rows that nobody has answered."""
        for number in range(count):
            self.conn.execute(
                "INSERT INTO ops.dead_letters (fingerprint, load_id, target, window_key,"
                " source_file, row_number, rule, violations, original, first_seen_at)"
                " VALUES (%s, 1, %s, '2024-10-15', 'a.csv', %s, %s, %s, %s, %s)",
                (
                    f"{rule}{number}",
                    target,
                    number,
                    rule,
                    Jsonb([]),
                    Jsonb({}),
                    self.now - timedelta(days=days_ago),
                ),
            )

    def alert(
        self, rule: str, subject: str, severity: str, value: float, allowed: float, *, hours: float
    ) -> None:
        """An alert that fires since so many hours; negative: it ended so long ago."""
        fired = self.now - timedelta(hours=abs(hours) + (0.5 if hours < 0 else 0))
        is_over = hours < 0
        self.conn.execute(
            "INSERT INTO ops.alerts (rule, subject, metric, severity, state, value, allowed,"
            " broken_since, fired_at, resolved_at, resolution)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                rule,
                subject,
                f"batch_assets_{rule}_{'seconds' if value > 1 else 'ratio'}",
                severity,
                "resolved" if is_over else "firing",
                value,
                allowed,
                fired,
                fired,
                self.now - timedelta(minutes=20) if is_over else None,
                "normal" if is_over else None,
            ),
        )

    def daemon(self) -> None:
        """Dagster's daemon, heard of just now."""
        self.conn.execute("CREATE SCHEMA IF NOT EXISTS dagster")
        self.conn.execute("CREATE TABLE dagster.daemon_heartbeats (timestamp timestamp)")
        self.conn.execute(
            "INSERT INTO dagster.daemon_heartbeats"
            " VALUES (clock_timestamp() AT TIME ZONE 'UTC' - interval '8 seconds')"
        )

    def lease(self, resource: str) -> None:
        """A window that is being written."""
        self.conn.execute(
            "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at)"
            " VALUES (%s, 'host 1', 1, now(), clock_timestamp() + interval '1 day')",
            (resource,),
        )

    def backfill(self, feed: str, keys: tuple[str, ...], actor: str = "mei") -> tuple[int, str]:
        """A backfill that is running, and a run of it."""
        backfill_id = launch(self.conn, request(feed, keys), actor).backfill.backfill_id
        run_id = plant_run(self.conn, backfill_id, f"{backfill_id:04d}beef-2f5c-4c11-9d1e")
        self.conn.execute(
            "INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions)"
            " VALUES (%s, %s, %s)",
            (f"bf{backfill_id}", backfill_id, len(keys)),
        )
        self.set(backfill_id, state="running", started_at=self.now - timedelta(minutes=30))
        return backfill_id, run_id

    def set(self, backfill_id: int, **values: object) -> None:
        """Columns of a backfill, as the driver writes them."""
        columns = psycopg.sql.SQL(", ").join(
            psycopg.sql.SQL("{} = {}").format(
                psycopg.sql.Identifier(name), psycopg.sql.Placeholder(name)
            )
            for name in values
        )
        self.conn.execute(
            psycopg.sql.SQL(
                "UPDATE ops.backfills SET {} WHERE backfill_id = %(backfill_id)s"
            ).format(columns),
            {**values, "backfill_id": backfill_id},
        )


def plant_busy_morning(url: str) -> None:
    """Everything at once: fresh and late feeds, backfills, failures, letters, alerts."""
    with connect(url, application_name="test") as conn:
        scene = Scene(conn)
        scene.window("cn", "2024-10-17", rows=5_342, hours_ago=0.4)
        scene.window("us", "2024-10-16", rows=11_208, hours_ago=11.0)
        scene.window("hk", "2024-10-14", rows=2_617, hours_ago=70.0)
        scene.window("crypto", "2024-10-16", rows=480, hours_ago=9.3)
        _plant_history(scene)
        _plant_running(scene)
        _plant_paused(scene)
        scene.load("sales", "2024-10", target="public.orders", rows=18_220, minutes_ago=190)
        scene.load("inbox", "2024-10-17", target="documents.documents", rows=412, minutes_ago=12)
        scene.load("shard-3", "4711", target="devices.records", rows=96_000, minutes_ago=0.5)
        scene.letters("market.daily_bars", "high_bounds", 14, days_ago=2)
        scene.letters("public.orders", "amount_is_number", 3, days_ago=0.2)
        scene.alert("freshness", "feed=hk", "critical", 190_800, 86_400, hours=2)
        scene.alert("error_rate", "target=public.orders", "warning", 0.062, 0.05, hours=0.3)
        scene.daemon()
        scene.lease("market.daily_bars/us/2024-08-07")
        conn.execute("UPDATE ops.audit SET happened_at = %s", (NOW - timedelta(minutes=30),))
        scene.alert("memory", "", "warning", 0.84, 0.8, hours=-1)


def _plant_history(scene: Scene) -> None:
    good, run_id = scene.backfill("cn", days(date(2024, 8, 1), 31), "nightly")
    for key in days(date(2024, 8, 1), 31):
        is_weekend = date.fromisoformat(key).weekday() >= 5
        state = "skipped" if is_weekend else "success"
        scene.load("cn", key, state, run_id=run_id, minutes_ago=1500)
    _end(scene, good, "success", hours_ago=24.0, minutes=12.4)
    bad, run_id = scene.backfill("hk", days(date(2024, 10, 14), 3), "mei")
    scene.load("hk", "2024-10-14", run_id=run_id, rows=2_617, minutes_ago=130)
    scene.load(
        "hk",
        "2024-10-15",
        "failed",
        run_id=run_id,
        rejected=1_204,
        minutes_ago=128,
        error=(
            "RejectLimitExceeded",
            "hk/2024-10-15.csv: 1204 of 2617 rows were rejected (46.0 %), expected at most 1000 "
            "rows or 1 %; most break high_bounds: correct the file, or raise reject_limit_ratio",
        ),
        file="hk/2024-10-15.csv",
    )
    scene.load(
        "hk",
        "2024-10-16",
        "failed",
        run_id=run_id,
        minutes_ago=127,
        error=(
            "SourceUnavailable",
            "hk/2024-10-16.csv does not exist, expected it since 2024-10-16 17:08:00+08:00; wait "
            "for the file, or correct `files` of the feed",
        ),
    )
    _end(scene, bad, "partial", hours_ago=2.1, minutes=1.2)
    scene.load(
        "us",
        "2024-10-16",
        "failed",
        minutes_ago=700,
        error=(
            "SourceRateLimited",
            "the vendor answers 429, expected an answer within 5 attempts; it says to wait 60 s",
        ),
    )
    scene.load("us", "2024-10-16", minutes_ago=660, rows=11_208)


def _end(scene: Scene, backfill_id: int, state: str, *, hours_ago: float, minutes: float) -> None:
    ended = scene.now - timedelta(hours=hours_ago)
    started = ended - timedelta(minutes=minutes)
    scene.set(backfill_id, state=state, ended_at=ended)
    scene.set(backfill_id, started_at=started, requested_at=started)


def _plant_running(scene: Scene) -> None:
    keys = days(date(2024, 7, 1), 60)
    _, run_id = scene.backfill("us", keys)
    for number, key in enumerate(keys[:37]):
        is_weekend = date.fromisoformat(key).weekday() >= 5
        state = "skipped" if is_weekend else "failed" if number == 22 else "success"
        scene.load(
            "us",
            key,
            state,
            run_id=run_id,
            rows=11_000,
            minutes_ago=(37 - number) * 0.2 + 0.1,
            # Days of another length than the one before, as they are.
            seconds=8.0 + number * 5 % 7,
            error=("UnreadableSource", "us/2024-07-23.csv ends within a quoted field in row 812")
            if state == "failed"
            else None,
        )
    scene.load("us", keys[37], "running", run_id=run_id, minutes_ago=0.1)


def _plant_paused(scene: Scene) -> None:
    keys = days(date(2024, 1, 1), 91)
    held, run_id = scene.backfill("crypto", keys, "li.wei")
    for key in keys[:12]:
        scene.load("crypto", key, run_id=run_id, rows=480, minutes_ago=45)
    pause(scene.conn, held, "mei")
    scene.set(held, state="paused")
    pause_feed(scene.conn, "crypto", "mei")
