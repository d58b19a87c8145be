"""Health, figures and resources at the paths of the original services, field by field."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from batch_assets.ops.device_health import (
    DeviceActivity,
    Health,
    ShardActivity,
    health_document,
)
from batch_assets.ops.resources import ProcessUse, ResourceMeter, Resources, SystemUse
from batch_assets.ops.scope import Scope
from batch_assets_tests.ingest.devices.landing import Plan, body_of, drain
from batch_assets_tests.ops.api.conftest import Api

_HEALTH = "/api/batch_processor/health"
_METRICS = "/api/batch_processor/metrics"
_NOW = datetime(2025, 10, 18, 4, tzinfo=UTC)


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.client() as opened:
        opened.headers.update(api.headers(Scope.LAUNCH))
        yield opened


def judged(
    *, errors: int = 0, waiting: int = 0, memory_percent: float = 10.0, cpu_percent: float = 10.0
) -> str:
    total = ShardActivity(None, waiting=waiting, records=1000, errors=errors)
    resources = Resources(
        ProcessUse(10, 1, 1, 1, 1), SystemUse(100, 50, memory_percent, cpu_percent, 2)
    )
    document = health_document(DeviceActivity([total], total, 1000), resources, _NOW)
    return str(document["status"])


def test_thresholds_are_those_of_the_original_and_the_worst_counts() -> None:
    assert judged() == "healthy"
    assert [judged(errors=n) for n in (49, 50, 99, 100)] == [
        "healthy",
        "degraded",
        "degraded",
        "unhealthy",
    ]
    assert [judged(waiting=n) for n in (699, 700, 899, 900)] == [
        "healthy",
        "degraded",
        "degraded",
        "unhealthy",
    ]
    assert [judged(memory_percent=n) for n in (79.9, 80.0, 89.9, 90.0)] == [
        "healthy",
        "degraded",
        "degraded",
        "unhealthy",
    ]
    assert judged(cpu_percent=85.0) == "degraded"
    assert judged(errors=60, memory_percent=95.0) == "unhealthy"


def test_health_has_every_field_of_the_original(api: Api, client: httpx.Client) -> None:
    client.post("/api/devices/records", json=[body_of(f"SN{n}", 1, 60) for n in range(20)])
    drain(Plan(api.url, ""))
    client.post("/api/devices/records", json=[body_of(f"SN{n}", 2, 61) for n in range(5)])

    answer = client.get(_HEALTH)

    body = answer.json()
    assert answer.status_code == (503 if body["status"] == "unhealthy" else 200)
    assert set(body) == {"status", "timestamp", "checks", "summary"}
    assert set(body["checks"]) == {"batch_processor", "system_resources", "queue_health"}
    for check in body["checks"].values():
        assert check["status"] in list(Health)
    resources = body["checks"]["system_resources"]["details"]
    assert {name: set(values) for name, values in resources.items() if name != "timestamp"} == {
        "process_metrics": {
            "memory_usage_mb",
            "memory_percent",
            "cpu_percent",
            "threads_count",
            "open_files",
        },
        "system_metrics": {
            "total_memory_mb",
            "available_memory_mb",
            "memory_percent",
            "cpu_percent",
            "cpu_count",
        },
        "batch_processor_metrics": {
            "total_queue_size",
            "shard_count",
            "processed_total",
            "error_total",
        },
    }
    queues = body["checks"]["queue_health"]["details"]
    assert sum(queue["queue_size"] for queue in queues.values()) == 5
    for queue in queues.values():
        assert set(queue) == {"queue_size", "utilization", "processed", "errors", "error_rate"}
    assert body["summary"]["total_processed"] == 20
    assert body["summary"]["error_rate"] == 0.0
    assert body["summary"]["queue_utilization"] == pytest.approx(5 / 100_000)
    assert 0 < body["summary"]["memory_usage_percent"] < 100


def test_a_full_inbox_is_unhealthy_with_503(api: Api) -> None:
    with api.client(api.build("[devices]\ninbox_rows_max = 10\n")) as client:
        client.headers.update(api.headers(Scope.LAUNCH))
        client.post("/api/devices/records", json=[body_of("SN0", 0, 60)])
        drain(Plan(api.url, ""))
        client.post("/api/devices/records", json=[body_of(f"SN{n}", 1, 60) for n in range(9)])
        answer = client.get(_HEALTH)

    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["checks"]["queue_health"]["status"] == "unhealthy"


def test_metrics_are_short_without_details_and_long_with_them(
    api: Api, client: httpx.Client
) -> None:
    client.post("/api/devices/records", json=[body_of(f"SN{n}", 1, 60) for n in range(20)])
    drain(Plan(api.url, ""))

    short = client.get(_METRICS).json()
    long = client.get(_METRICS, params={"details": "true"}).json()

    assert set(short) == {"timestamp", "summary"}
    assert set(short["summary"]) == {
        "total_processed",
        "total_errors",
        "shard_count",
        "error_rate",
        "queue_utilization",
        "processing_rate",
    }
    assert short["summary"]["total_processed"] == 20
    assert short["summary"]["processing_rate"] == pytest.approx(20 / 3600)
    assert set(long) == {
        "timestamp",
        "batch_processing",
        "system_resources",
        "performance_indicators",
    }
    assert set(long["performance_indicators"]) == {
        "error_rate",
        "queue_utilization",
        "processing_rate",
    }
    processing = long["batch_processing"]
    assert set(processing["summary"]) == {
        "period_summary",
        "performance_summary",
        "shard_distribution",
        "timestamp",
    }
    assert processing["summary"]["period_summary"]["success_rate"] == 1.0
    batch = processing["detailed_metrics"][-1]
    assert set(batch) == {
        "batch_id",
        "shard_id",
        "batch_size",
        "processing_time",
        "db_insert_time",
        "redis_update_time",
        "alert_check_time",
        "success_count",
        "duplicate_count",
        "error_count",
        "timestamp",
        "success_rate",
        "throughput",
    }


def test_one_shard_is_shown_and_an_unknown_one_not_found(api: Api, client: httpx.Client) -> None:
    client.post("/api/devices/records", json=[body_of(f"SN{n}", 1, 60) for n in range(20)])
    drain(Plan(api.url, ""))

    shard = client.get(_METRICS, params={"shard_id": 0, "details": "true"}).json()
    unknown = client.get(_METRICS, params={"shard_id": 99})

    assert shard["shard_detail"]["shard_id"] == 0
    assert {one["shard_id"] for one in shard["shard_detail"]["detailed_metrics"]} <= {0}
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Shard 99 not found"})


def test_resources_executors_and_connections_are_told(client: httpx.Client) -> None:
    usage = client.get("/api/system/resource-usage").json()
    executors = client.get("/api/system/executor-stats").json()
    connections = client.get("/api/system/db-pool-stats").json()

    assert usage["process"]["memory_usage_mb"] > 10
    assert usage["system"]["cpu_count"] > 0
    assert executors["process_executor"]["max_workers"] >= 1
    assert executors["thread_executor"]["max_workers"] >= 1
    assert connections["pool"]["in_use"] >= 1
    assert connections["pool"]["max_size"] == 8
    applications = {one["application"]: one for one in connections["server"]["applications"]}
    assert applications["batch_assets serve"]["active"] == 1
    assert connections["server"]["max_connections"] >= connections["server"]["connections"]


def test_processor_time_that_is_spent_shows() -> None:
    meter = ResourceMeter()
    begun = datetime.now(UTC)
    while (datetime.now(UTC) - begun).total_seconds() < 1.1:
        sum(range(1000))

    found = meter.read()

    assert found.process.cpu_percent > 10
    assert found.system.cpu_percent > 0


def test_what_the_process_uses_is_no_secret_but_needs_a_token(client: httpx.Client) -> None:
    for path in (_HEALTH, _METRICS, "/api/system/resource-usage"):
        assert client.get(path, headers={"Authorization": ""}).status_code == 401
