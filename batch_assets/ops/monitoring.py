"""Metrics and alerts as the HTTP API and the command line show them."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import psycopg

from batch_assets import __version__
from batch_assets.errors import ConfigurationError, InfrastructureError, RequestRefused
from batch_assets.monitoring.alert_rules import Alert
from batch_assets.monitoring.alerts import read_alerts
from batch_assets.monitoring.channels import send_message
from batch_assets.monitoring.messages import message_of_test
from batch_assets.monitoring.metrics import METRICS, Metric, Sample
from batch_assets.monitoring.settings import message_language, read_alert_settings
from batch_assets.monitoring.snapshot import read_snapshot
from batch_assets.ops.backfills.read import list_backfills
from batch_assets.runs.backfill_states import BackfillState
from batch_assets.runs.eta_records import read_estimate
from batch_assets.runs.pool_slots import read_pool_slots
from batch_assets.settings import Settings

# Copies of one message have its number; tests are no message.
_TEST_NUMBER = 0


def read_samples(conn: psycopg.Connection, settings: Settings, now: datetime) -> list[Sample]:
    """All metrics, those of Dagster's pools and of backfills included.

    Args:
        conn: Its transaction is left open.
        settings: Whose feeds and bounds.
        now: The present.
    """
    begun = time.perf_counter()
    samples = [
        *read_snapshot(conn, settings, now),
        *_pool_samples(conn),
        *_backfill_samples(conn, now),
    ]
    seconds = time.perf_counter() - begun
    return [*samples, Sample("batch_assets_snapshot_seconds", {}, seconds)]


def _pool_samples(conn: psycopg.Connection) -> Iterator[Sample]:
    for pool in read_pool_slots(conn):
        labels = {"pool": pool.pool}
        yield Sample("batch_assets_pool_slots", labels, pool.slots)
        yield Sample("batch_assets_pool_slots_taken", labels, pool.taken)
        yield Sample("batch_assets_pool_steps_waiting", labels, pool.waiting)


def _backfill_samples(conn: psycopg.Connection, now: datetime) -> Iterator[Sample]:
    running = [
        backfill
        for backfill in list_backfills(conn, is_unfinished=True)
        if backfill.state is BackfillState.RUNNING
    ]
    found = [read_estimate(conn, backfill.backfill_id, now) for backfill in running]
    ends = [estimate for estimate in found if estimate is not None]
    if ends:
        for percentile, at in (
            ("50", max(one.p50_at for one in ends)),
            ("90", max(one.p90_at for one in ends)),
        ):
            seconds = max(0.0, (at - now).total_seconds())
            yield Sample("batch_assets_backfill_eta_seconds", {"percentile": percentile}, seconds)


def prometheus_text(samples: Sequence[Sample]) -> bytes:
    """Samples as Prometheus reads them (text format 0.0.4)."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.metrics_core import Metric as Family

    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.metric].append(sample)

    def family_of(metric: Metric) -> Family:
        make = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
        family = make(metric.name, metric.meaning, labels=metric.labels)
        for sample in found[metric.name]:
            family.add_metric([sample.labels[name] for name in metric.labels], sample.value)
        return family

    class _Once:
        def collect(self) -> Iterator[Family]:
            info = InfoMetricFamily("batch_assets_build", "What runs.")
            info.add_metric([], {"version": __version__})
            yield info
            for name, metric in METRICS.items():
                if name in found:
                    yield family_of(metric)

    registry = CollectorRegistry()
    registry.register(_Once())
    return generate_latest(registry)


def list_alerts(conn: psycopg.Connection, *, is_open: bool, limit: int) -> list[Alert]:
    """Alerts that fired, newest first; with `is_open` also those that wait to fire."""
    return read_alerts(conn, is_open=is_open, with_pending=is_open, limit=limit)


def send_test(settings: Settings, names: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Tell channels that they work, one after the other.

    Args:
        settings: Whose channels.
        names: Which; all where none is named.

    Yields:
        Name, and what went wrong: empty where the channel took it.

    Raises:
        RequestRefused: There is no channel of that name.
    """
    channels = read_alert_settings(settings).channels
    if unknown := set(names) - set(channels):
        raise RequestRefused(
            f"[alerts.channels] has no {', '.join(sorted(unknown))}, expected one of "
            f"{', '.join(sorted(channels))}; name one of them"
        )
    payload = message_of_test(message_language(settings), datetime.now(UTC))
    for name in names or channels:
        problem = ""
        try:
            send_message(channels[name], payload, _TEST_NUMBER, settings.secret)
        except (ConfigurationError, InfrastructureError) as error:
            problem = str(error)
        yield name, problem
