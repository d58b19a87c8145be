"""What `prune` lets go, and what it never touches."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest

from batch_assets.loading.staging import staging_name
from batch_assets.monitoring.retention import Pruned
from batch_assets.postgres.connect import connect
from batch_assets.runs.retention import prune
from batch_assets.settings import Settings, load_settings

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - timedelta(days=40), NOW - timedelta(days=20)
CONFIGURATION = """
[retention]
loads_days = 30
dead_letters_days = 30
plans_days = 30
backfills_days = 30
audit_days = 30
alerts_days = 30
history_days = 30
staging_days = 30
dagster_events_days = 30
dagster_logs_days = 30
batch_rows = 2
"""
LOADS = """
INSERT INTO ops.loads (target, window_key, resource, state, rows_read, rows_inserted, finished_at)
SELECT %(target)s, %(key)s, %(target)s || '/' || %(key)s, 'success', %(rows)s, %(rows)s, %(at)s
FROM generate_series(1, %(count)s)
"""
LETTERS = """
INSERT INTO ops.dead_letters (fingerprint, load_id, target, window_key, source_file, row_number,
    rule, violations, original, state, last_seen_at)
SELECT 'f' || n, 1, 'orders', 'k', 'a.csv', n, 'r', '[]', '{}', %(state)s, %(at)s
FROM generate_series(1, %(count)s) AS n
"""
CHECKPOINT = """
INSERT INTO ops.checkpoints (resource, chunk_no, source_hash, contract_version, load_id,
    staged_rows, rows_read, rows_rejected, rows_skipped, position, committed_at)
VALUES (%(resource)s, 1, %(hash)s, '1', 1, 1, 1, 0, 0, '{}', %(at)s)
"""
AUDIT = "INSERT INTO ops.audit VALUES (DEFAULT, %(at)s, 'who', 'what', 'whom')"
DAGSTER = """
CREATE SCHEMA dagster;
CREATE TABLE dagster.runs (run_id text, status text);
CREATE TABLE dagster.event_logs (
    id serial, run_id text, dagster_event_type text, timestamp timestamp, asset_key text);
INSERT INTO dagster.runs VALUES ('done', 'SUCCESS'), ('going', 'STARTED');
"""
EVENT = """
INSERT INTO dagster.event_logs (run_id, dagster_event_type, timestamp, asset_key)
VALUES (%s, %s, %s, %s)
"""


class Store:
    """A database with old and young records."""

    def __init__(self, url: str, folder: Path) -> None:
        (folder / "batch_assets.toml").write_text(CONFIGURATION)
        self.settings: Settings = load_settings(
            {"BATCH_ASSETS_DATABASE_URL": url}, working_dir=folder
        )
        self.connect = partial(connect, url, application_name="test")
        self.conn = psycopg.connect(url, autocommit=True)

    def put(self, statement: str, **values: object) -> None:
        self.conn.execute(statement.encode(), values)

    def count(self, rest: str) -> int:
        row = self.conn.execute(f"SELECT count(*) FROM {rest}".encode()).fetchone()
        assert row is not None
        return int(row[0])

    def prune(self, *, dry_run: bool = False) -> dict[str, int]:
        found: list[Pruned] = list(prune(self.connect, self.settings, NOW, dry_run=dry_run))
        return {one.what: one.count for one in found if one.count}


@pytest.fixture
def store(postgres: str, tmp_path: Path) -> Iterator[Store]:
    made = Store(postgres, tmp_path)
    with made.conn:
        yield made


def test_old_loads_go_but_never_the_newest_nor_what_others_read(store: Store) -> None:
    store.put(LOADS, target="orders", key="many", rows=1, at=OLD, count=6)
    store.put(LOADS, target="orders", key="young", rows=1, at=YOUNG, count=2)
    store.put(LOADS, target="market.daily_bars", key="wrote", rows=5, at=OLD, count=2)
    store.put(LOADS, target="market.daily_bars", key="idle", rows=0, at=OLD, count=3)
    store.put(LOADS, target="orders", key="letter", rows=1, at=OLD, count=2)
    store.put(LOADS, target="orders", key="window", rows=1, at=OLD, count=3)
    store.conn.execute(
        "INSERT INTO ops.dead_letters (fingerprint, load_id, target, window_key, source_file,"
        " row_number, rule, violations, original) SELECT 'a', min(load_id), 'orders', 'letter',"
        " 'a', 1, 'r', '[]', '{}' FROM ops.loads WHERE window_key = 'letter'"
    )
    store.conn.execute(
        "INSERT INTO ops.windows (target, window_key, row_count, contract_version, load_id)"
        " SELECT 'orders', 'window', 1, '1', min(load_id) FROM ops.loads"
        " WHERE window_key = 'window'"
    )

    assert store.prune(dry_run=True) == {"ops.loads": 8}
    assert store.count("ops.loads") == 18
    assert store.prune() == {"ops.loads": 8}
    assert store.prune() == {}

    left = store.conn.execute(
        "SELECT window_key, count(*) FROM ops.loads GROUP BY window_key ORDER BY window_key"
    ).fetchall()
    assert left == [
        ("idle", 1),
        ("letter", 2),
        ("many", 1),
        ("window", 2),
        ("wrote", 2),
        ("young", 2),
    ]


def test_open_dead_letters_stay_however_old(store: Store) -> None:
    for state, at in (("open", OLD), ("replayed", OLD), ("discarded", OLD), ("replayed", YOUNG)):
        store.put(LETTERS, state=state, at=at, count=3)

    assert store.prune() == {"ops.dead_letters": 6}
    assert store.count("ops.dead_letters WHERE state = 'open'") == 3
    assert store.count("ops.dead_letters") == 6


def test_what_belongs_to_an_old_backfill_or_plan_goes_with_it(store: Store) -> None:
    backfill = (
        "INSERT INTO ops.backfills (asset_key, feed, target, scope, first_key, last_key,"
        " partitions, fingerprint, requested_by, state, ended_at) VALUES ('a', 'f', 't', 's', '1',"
        " '2', 1, %(print)s, 'x', %(state)s, %(at)s)"
    )
    store.put(backfill, print="1", state="success", at=OLD)
    store.put(backfill, print="2", state="success", at=YOUNG)
    store.put(backfill, print="3", state="running", at=None)
    store.conn.execute(
        "INSERT INTO ops.backfill_partitions (backfill_id, position, partition_key)"
        " SELECT backfill_id, 1, 'k' FROM ops.backfills"
    )
    for at in (OLD, YOUNG):
        store.put(AUDIT, at=at)

    assert store.prune() == {"ops.backfill_partitions": 1, "ops.backfills": 1, "ops.audit": 1}
    assert store.count("ops.backfill_partitions JOIN ops.backfills USING (backfill_id)") == 2


def test_staging_left_over_goes_but_not_what_is_loaded_nor_positions_of_streams(
    store: Store,
) -> None:
    for resource, at in (("old", OLD), ("held", OLD), ("young", YOUNG)):
        store.put(CHECKPOINT, resource=resource, hash="h", at=at)
        store.conn.execute(f'CREATE TABLE staging."{staging_name(resource)}" (x int)'.encode())
    store.put(CHECKPOINT, resource="stream", hash="", at=OLD)
    store.conn.execute(f'CREATE TABLE staging."{staging_name("nobody")}" (x int)'.encode())
    store.conn.execute(
        "INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at)"
        " VALUES ('held', 'h:1', 1, now(), now() + interval '1 hour')"
    )

    assert store.prune() == {"staged windows": 1, "staging tables without a window": 1}
    left = store.conn.execute("SELECT resource FROM ops.checkpoints ORDER BY 1").fetchall()
    assert left == [("held",), ("stream",), ("young",)]
    assert store.count("pg_tables WHERE schemaname = 'staging'") == 2
    assert store.count("ops.leases") == 1


def test_of_dagster_only_what_steps_of_ended_runs_said_goes(store: Store, tmp_path: Path) -> None:
    store.conn.execute(DAGSTER)
    kept = [
        ("done", "ASSET_MATERIALIZATION", OLD, '["a"]'),
        ("done", "PIPELINE_FAILURE", OLD, None),
        ("done", "STEP_FAILURE", OLD, None),
        ("done", "STEP_START", YOUNG, None),
        ("going", "STEP_START", OLD, None),
    ]
    gone = [("done", "STEP_START", OLD, None), ("done", None, OLD, None)]
    for event in kept + gone:
        store.conn.execute(EVENT, event)
    for run in ("done", "going", "young"):
        logs = store.settings.state_dir / "dagster" / "storage" / run / "compute_logs"
        logs.mkdir(parents=True)
        (logs / "step.out").write_text("text")
        if run != "young":
            for path in (logs / "step.out", logs):
                os.utime(path, (OLD.timestamp(), OLD.timestamp()))

    assert store.prune(dry_run=True) == {"dagster.event_logs": 2, "captured logs of runs": 1}
    assert store.prune() == {"dagster.event_logs": 2, "captured logs of runs": 1}

    assert store.count("dagster.event_logs") == len(kept)
    storage = store.settings.state_dir / "dagster" / "storage"
    assert sorted(path.name for path in storage.iterdir()) == ["going", "young"]
