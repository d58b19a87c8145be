"""Every default rule fires and resolves on what really happens in the database."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from batch_assets.execution import usage
from batch_assets.monitoring import snapshot
from batch_assets.monitoring.settings import DEFAULT_RULES
from batch_assets.monitoring.watch import Watched, watch_alerts, watch_until
from batch_assets_tests.monitoring.conftest import System
from batch_assets_tests.polling import wait_until

CONFIGURATION = """
[devices]
inbox_rows_max = 10

[market.feeds.us]
folder = "us"
layout = "by_day"
files = "{date}.csv"
calendar = "24/7"
"""
LOAD = """
INSERT INTO ops.loads (target, scope, window_key, resource, state, rows_read, rows_inserted,
    rows_rejected, finished_at)
VALUES ('market.daily_bars', 'us', %s, 'market.daily_bars/us/' || %s, %s, 100, 100 - %s, %s,
    clock_timestamp())
"""
INBOX = """
INSERT INTO devices.inbox (bucket, body, received_at)
SELECT 1, '{}', clock_timestamp() - make_interval(secs => %s) FROM generate_series(1, %s)
"""
LEASE = """
INSERT INTO ops.leases (resource, holder, backend_pid, backend_start, expires_at)
VALUES ('a', 'host:1', 1, now(), clock_timestamp() - interval '10 minutes')
"""
VENDOR = """
INSERT INTO ops.rate_limits (name, capacity, refill_per_second, tokens, breaker_state,
    failure_threshold, cool_down_seconds)
VALUES ('baostock', 10, 1, 10, 'open', 3, 60)
"""
OUTBOX = """
INSERT INTO devices.outbox (destination, bucket, device_sn, kind, payload, load_id, dead_at)
VALUES ('webhook', 1, 'a', 'alert_opened', '{}', 1, now())
"""
LATEST = """
INSERT INTO devices.latest (device_sn, measured_at, load_id)
VALUES (%s, clock_timestamp() - make_interval(hours => %s), 1)
ON CONFLICT (device_sn) DO UPDATE SET measured_at = excluded.measured_at
"""
WINDOW = """
INSERT INTO ops.windows (target, scope, window_key, row_count, contract_version, load_id)
VALUES ('market.daily_bars', 'us', %s, 1, '1', 1)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Story:
    """What makes a rule fire, what mends it, and which severity people are told."""

    wrong: Callable[[System], object]
    mended: Callable[[System], object]
    severity: str


def day(back: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=back)).isoformat()


STORIES = {
    "error_rate": Story(
        lambda s: s.execute(LOAD, "a", "a", "success", 11, 11),
        lambda s: s.execute(LOAD, "a", "a", "success", 0, 0),
        "critical",
    ),
    "failed_loads": Story(
        lambda s: s.execute(LOAD, "a", "a", "failed", 0, 0),
        lambda s: s.execute(LOAD, "a", "a", "success", 0, 0),
        "critical",
    ),
    "back_pressure": Story(
        lambda s: s.execute(INBOX, 0, 9),
        lambda s: s.execute("DELETE FROM devices.inbox WHERE inbox_id % 2 = 1"),
        "warning",
    ),
    "lag": Story(
        lambda s: s.execute(INBOX, 301, 1),
        lambda s: s.execute("DELETE FROM devices.inbox"),
        "critical",
    ),
    "freshness": Story(
        lambda s: s.execute(WINDOW, day(3)),
        lambda s: s.execute(WINDOW, day(0)),
        "critical",
    ),
    "silent_lease": Story(
        lambda s: s.execute(LEASE),
        lambda s: s.execute("DELETE FROM ops.leases"),
        "warning",
    ),
    "vendor_breaker": Story(
        lambda s: s.execute(VENDOR),
        lambda s: s.execute("UPDATE ops.rate_limits SET breaker_state = 'closed'"),
        "warning",
    ),
    "silent_devices": Story(
        lambda s: s.execute(LATEST, "A", 25),
        lambda s: s.execute(LATEST, "A", 0),
        "warning",
    ),
    "undelivered": Story(
        lambda s: s.execute(OUTBOX),
        lambda s: s.execute("DELETE FROM devices.outbox"),
        "warning",
    ),
}


class Watch:
    """Evaluations at moments that a test chooses."""

    def __init__(self, system: System, rule: str, text: str = CONFIGURATION) -> None:
        off = "".join(
            f"[alerts.rules.{name}]\nis_on = false\n" for name in DEFAULT_RULES if name != rule
        )
        self.system = system
        self.settings = system.settings(text + off)
        self.now = datetime.now(UTC)

    def after(self, seconds: float) -> Watched:
        self.now += timedelta(seconds=seconds)
        return watch_alerts(self.system.connect, self.settings, "test", now=self.now)

    def told(self) -> list[tuple[object, ...]]:
        return self.system.execute(
            "SELECT kind, payload ->> 'severity', sent_at IS NOT NULL FROM ops.alert_messages"
            " ORDER BY message_id"
        )


@pytest.mark.parametrize("rule", STORIES)
def test_default_rule_fires_and_resolves(system: System, rule: str) -> None:
    story, watch = STORIES[rule], Watch(system, rule)
    watch.after(0)
    story.wrong(system)

    assert watch.after(60).fired == 0
    assert watch.after(300).fired == 1
    assert watch.after(60).fired == 0

    story.mended(system)
    assert watch.after(60).resolved == 0
    assert watch.after(60).resolved == 1

    assert watch.told() == [("fired", story.severity, True), ("resolved", story.severity, True)]
    assert system.execute("SELECT state, resolution FROM ops.alerts") == [("resolved", "normal")]


def test_waiting_for_a_lock_fires_and_resolves(system: System) -> None:
    text = "[alerts.rules.lock_wait]\nwarning_above = 0.0\n"
    watch = Watch(system, "undelivered")
    watch.settings = system.settings(text)

    with system.connect() as holder, ThreadPoolExecutor(1) as executor:
        holder.execute("LOCK TABLE devices.shadow_buckets")
        waiting = executor.submit(system.execute, "SELECT count(*) FROM devices.shadow_buckets")
        wait_until(
            lambda: system.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            ),
            "a lock to be waited for",
        )
        watch.after(0)
        assert watch.after(60).fired == 1
        holder.rollback()
        waiting.result()

    watch.after(60)
    assert watch.after(60).resolved == 1


@contextmanager
def memory(monkeypatch: pytest.MonkeyPatch, root: Path, used: int) -> Iterator[None]:
    group = root / "sys/fs/cgroup"
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text("1000")
    (group / "memory.current").write_text(str(used + 50))
    (group / "memory.stat").write_text("inactive_file 50\n")
    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "read_usage", lambda: usage.read_usage(root))
        yield


def test_memory_fires_and_resolves(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(system, "memory")

    with memory(monkeypatch, tmp_path, 801):
        watch.after(0)
        assert watch.after(119).fired == 0
        assert watch.after(30).fired == 1
    with memory(monkeypatch, tmp_path, 800):
        watch.after(60)
        assert watch.after(60).resolved == 1


def test_two_who_watch_evaluate_once(system: System) -> None:
    watch = Watch(system, "undelivered")
    system.execute(OUTBOX)
    watch.after(0)
    watch.now += timedelta(seconds=60)
    barrier = threading.Barrier(6)

    def look(_: int) -> Watched:
        barrier.wait()
        return watch_alerts(system.connect, watch.settings, "test", now=watch.now)

    with ThreadPoolExecutor(6) as executor:
        looked = list(executor.map(look, range(6)))

    assert sum(one.is_evaluated for one in looked) == 1
    assert sum(one.fired for one in looked) == 1
    assert [row[0] for row in watch.told()] == ["fired"]


def test_an_alert_and_its_messages_are_stored_together_or_not_at_all(system: System) -> None:
    watch = Watch(system, "undelivered")
    system.execute(OUTBOX)
    watch.after(0)
    system.execute("ALTER TABLE ops.alert_messages ADD CONSTRAINT refuses CHECK (false) NOT VALID")
    with pytest.raises(psycopg.errors.CheckViolation):
        watch.after(60)

    assert system.execute("SELECT state FROM ops.alerts") == [("pending",)]
    system.execute("ALTER TABLE ops.alert_messages DROP CONSTRAINT refuses")
    assert watch.after(0).fired == 1
    assert watch.told() == [("fired", "warning", True)]


def test_watching_goes_on_after_the_database_refused_a_statement(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    settings = system.settings("[alerts]\nevaluate_seconds = 0.05\n")
    system.execute("ALTER TABLE ops.alert_clock RENAME TO hidden")
    stop = threading.Event()
    arguments = (stop, system.connect, settings, "test")
    thread = threading.Thread(target=watch_until, args=arguments)
    thread.start()
    try:
        wait_until(lambda: "alerts were not evaluated" in caplog.text, "the refusal to be logged")
        system.execute("ALTER TABLE ops.hidden RENAME TO alert_clock")
        looked = "SELECT 1 FROM ops.alert_clock WHERE evaluated_at > '-infinity'"
        wait_until(lambda: system.execute(looked), "the next look")
    finally:
        stop.set()
        thread.join()


def test_silent_devices_are_named_longest_silence_first(system: System) -> None:
    watch = Watch(system, "silent_devices")
    for number in range(12):
        system.execute(LATEST, f"SN-{number:02}", 30 + number)
    system.execute(LATEST, "SENDS", 23)
    # What has not been heard of for a month is out of use.
    system.execute(LATEST, "RETIRED", 24 * 31)

    watch.after(0)
    watch.after(60)

    ((payload,),) = system.execute("SELECT payload FROM ops.alert_messages")
    assert isinstance(payload, dict)
    assert payload["value"] == 12
    assert payload["names"] == [f"SN-{number:02}" for number in range(11, 1, -1)]
    assert "Longest: SN-11, SN-10, " in str(payload["text"])
    assert str(payload["text"]).endswith("Run: batch-assets devices silent")
