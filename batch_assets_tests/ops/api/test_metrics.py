"""`/metrics` is what docs, dashboard and rules say it is."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from batch_assets.monitoring.metrics import METRICS
from batch_assets.monitoring.settings import DEFAULT_RULES
from batch_assets_tests.ops.api.conftest import Api

PROJECT = Path(__file__).resolve().parents[3]
DEPLOY = PROJECT / "deploy"
CONFIGURATION = """
[market.feeds.us]
folder = "us"
layout = "by_day"
files = "{date}.csv"
calendar = "24/7"
"""
LOADED = """
INSERT INTO ops.loads (target, scope, window_key, resource, state, rows_read, rows_inserted,
    rows_rejected, started_at, finished_at, metrics)
VALUES ('market.daily_bars', 'us', 'a', 'r', 'success', 100, 93, 7, now() - interval '2 s', now(),
    '{"last_chunk_rows": 4096}');
INSERT INTO ops.loads (target, window_key, resource, state) VALUES ('t', 'b', 'b', 'running');
INSERT INTO ops.windows (target, scope, window_key, row_count, contract_version, load_id)
VALUES ('market.daily_bars', 'us', to_char(now() - interval '3 days', 'YYYY-MM-DD'), 1, '1', 1);
INSERT INTO ops.batch_metrics (target, shard, origin, load_id, row_count, inserted, is_committed,
    seconds, database_seconds)
VALUES ('devices.records', 0, 'inbox', 1, 50, 50, true, 0.5, 0.4);
INSERT INTO ops.dead_letters (fingerprint, load_id, target, window_key, source_file, row_number,
    rule, violations, original)
VALUES ('a', 1, 'market.daily_bars', 'a', 'a', 1, 'r', '[]', '{}'),
       ('b', 1, 'orders', 'a', 'a', 1, 'r', '[]', '{}');
INSERT INTO ops.rate_limits (name, capacity, refill_per_second, tokens, failure_threshold,
    cool_down_seconds) VALUES ('tushare', 10, 0.0001, 4, 3, 60);
UPDATE ops.alert_clock SET evaluated_at = now();
CREATE SCHEMA dagster;
CREATE TABLE dagster.concurrency_limits (concurrency_key text, "limit" int);
CREATE TABLE dagster.concurrency_slots (concurrency_key text, run_id text, deleted boolean);
CREATE TABLE dagster.pending_steps (concurrency_key text, assigned_timestamp timestamp);
INSERT INTO dagster.concurrency_limits VALUES ('postgres_write', 4);
INSERT INTO dagster.concurrency_slots VALUES ('postgres_write', 'r', false);
INSERT INTO dagster.pending_steps VALUES ('postgres_write', NULL);
"""
BACKFILL = """
WITH asked AS (
    INSERT INTO ops.backfills (asset_key, feed, target, scope, first_key, last_key, partitions,
        fingerprint, requested_by, state, started_at)
    VALUES ('a', 'us', 't', 's', '1', '9', 9, 'x', 'me', 'running', %(now)s) RETURNING backfill_id),
keys AS (
    INSERT INTO ops.backfill_partitions
    SELECT backfill_id, n, n FROM asked, generate_series(1, 9) AS n),
runs AS (INSERT INTO ops.backfill_runs SELECT 'run', backfill_id FROM asked)
INSERT INTO ops.loads (target, scope, window_key, resource, state, run_id, started_at, finished_at)
SELECT 't', 's', n, n, 'success', 'run', %(now)s - interval '1 min' + n * interval '10 s',
       %(now)s - interval '1 min' + (n + 1) * interval '10 s'
FROM generate_series(1, 5) AS n
"""


def scraped(api: Api) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples of a scrape: by name, values by the values of their labels."""
    with api.client(api.build(CONFIGURATION)) as client:
        answer = client.get("/metrics", headers=api.headers())
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.values()))] = sample.value
    return found


@pytest.fixture
def full(api: Api) -> dict[str, dict[tuple[str, ...], float]]:
    """A scrape of a database in which every metric has something to say."""
    with psycopg.connect(api.url) as conn:
        conn.execute(LOADED.encode())
        conn.execute(BACKFILL, {"now": datetime.now(UTC)})
    return scraped(api)


def expressions() -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def test_every_metric_is_scraped_and_every_expression_names_one(
    full: dict[str, dict[tuple[str, ...], float]],
) -> None:
    # Disks are not counted in every container.
    uncounted = {"batch_assets_container_read_bytes_total"}
    uncounted |= {"batch_assets_container_written_bytes_total"}
    assert set(METRICS) - uncounted <= set(full)
    assert set(full) - set(METRICS) == {"batch_assets_build_info"}

    named = {name for text in expressions() for name in re.findall(r"batch_assets_\w+", text)}
    assert named <= set(METRICS)
    assert set(METRICS) - named <= {"batch_assets_recent_failed_load_ratio"}


def test_labels_that_expressions_use_exist() -> None:
    for text in expressions():
        for name, labels in re.findall(r"(batch_assets_\w+)\{([^}]*)\}", text):
            used = re.findall(r"(\w+)!?=", labels)
            assert set(used) <= set(METRICS[name].labels), text


def test_scrape_says_what_is_in_the_database(
    full: dict[str, dict[tuple[str, ...], float]],
) -> None:
    def value(name: str, *labels: str) -> float:
        return full[f"batch_assets_{name}"][tuple(sorted(labels))]

    assert value("recent_rows", "market.daily_bars", "rejected") == 7
    assert value("recent_error_ratio", "market.daily_bars") == 0.07
    assert value("recent_load_seconds", "market.daily_bars", "50") == pytest.approx(2, abs=0.01)
    assert value("recent_chunk_rows", "market.daily_bars") == 4096
    assert value("recent_rows", "devices.records", "inserted") == 50
    assert value("dead_letters_open", "market") == 1
    assert value("dead_letters_open", "spreadsheets") == 1
    assert value("dead_letters_open", "documents") == 0
    assert value("running_loads", "t") == 1
    assert value("vendor_tokens", "tushare") == pytest.approx(4, abs=0.1)
    assert value("pool_slots", "postgres_write") == 4
    assert value("pool_slots_taken", "postgres_write") == 1
    assert value("pool_steps_waiting", "postgres_write") == 1
    assert value("backfill_partitions_left") == 4
    assert 0 < value("backfill_eta_seconds", "50") <= value("backfill_eta_seconds", "90") < 3600
    late = timedelta(days=1).total_seconds()
    assert late <= value("partition_lag_seconds", "us") < 3 * late
    assert 0 < value("memory_used_ratio") < 1


def test_metrics_need_a_token(api: Api) -> None:
    with api.client() as client:
        assert client.get("/metrics").status_code == 401


def test_every_metric_and_alert_is_documented() -> None:
    page = (PROJECT / "docs" / "monitoring.md").read_text(encoding="utf-8")

    assert [name for name in METRICS if f"`{name}`" not in page] == []
    assert [name for name in DEFAULT_RULES if f"| `{name}` |" not in page] == []
