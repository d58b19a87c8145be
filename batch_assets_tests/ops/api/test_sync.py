"""The date-range sync of the original service, field by field."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.backfills.planted import plant_load, plant_run

_START = "/api/v1/sync-status/sync/batch"
_PROGRESS = f"{_START}/progress"
FEEDS = """
[market]
default_feed = "cn"

[market.feeds.cn]
vendor = "baostock"
host = "127.0.0.1"
port = 1

[market.feeds.free_2]
vendor = "baostock"
host = "127.0.0.1"
port = 1
"""
_OLD_FIELDS = {
    "status": str,
    "total": int,
    "current": int,
    "success": int,
    "failed": int,
    "skipped": int,
    "current_date": str | None,
    "message": str,
    "progress_percent": float,
    "start_time": str,
    "end_time": str | None,
    "duration_seconds": float | None,
    "estimated_completion": str | None,
    "errors": list,
}


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.client(api.build(FEEDS)) as opened:
        opened.headers.update(api.headers(Scope.LAUNCH))
        yield opened


@pytest.fixture
def conn(api: Api) -> Iterator[psycopg.Connection]:
    with psycopg.connect(api.url, autocommit=True) as opened:
        yield opened


def days(first: str, last: str, **more: object) -> dict[str, object]:
    return {"start_date": first, "end_date": last, **more}


def test_start_answers_as_the_original_did(client: httpx.Client) -> None:
    answer = client.post(_START, json=days("2024-10-01", "2024-10-09"))

    body = answer.json()
    assert (answer.status_code, body["status"]) == (202, "success"), body
    assert body["data"]["total_days"] == 9
    assert body["data"]["message"] == "批量同步任务已启动，将同步 9 天的数据"
    found = re.fullmatch(r"2024-10-01_2024-10-09_(\d{10})", body["data"]["task_id"])
    assert found
    assert abs(int(found[1]) - datetime.now(UTC).timestamp()) < 60


def test_the_same_range_returns_its_task_and_an_overlapping_one_is_refused(
    client: httpx.Client,
) -> None:
    first = client.post(_START, json=days("2024-10-01", "2024-10-09")).json()["data"]
    same = client.post(_START, json=days("2024-10-01", "2024-10-09"))
    overlapping = client.post(_START, json=days("2024-10-09", "2024-10-10"))
    other_feed = client.post(_START, json=days("2024-10-01", "2024-10-09", feed="free_2"))

    assert (same.status_code, same.json()["data"]["task_id"]) == (202, first["task_id"])
    assert (first["is_new"], same.json()["data"]["is_new"]) == (True, False)
    assert overlapping.status_code == 409
    assert overlapping.json()["status"] == "error"
    assert overlapping.json()["message"] == "已有同步任务正在运行"
    assert "overlaps backfill 1" in overlapping.json()["detail"]
    task = other_feed.json()["data"]
    assert (other_feed.status_code, task["task_id"][-7:]) == (202, "_free_2")
    progress = client.get(f"{_PROGRESS}/{task['task_id']}").json()["data"]
    assert progress["backfill_id"] == task["backfill_id"] != first["backfill_id"]


def test_bad_dates_are_refused_with_what_was_expected(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    wrong: list[tuple[object, str]] = [
        (days("2024-10-09", "2024-10-01"), "has no day"),
        (days("2024-10-32", "2024-10-33"), "start_date"),
        (days("yesterday", "2024-10-01"), "expected a date as 2025-10-01"),
        (days("2024-10-01", "2999-01-01"), "is in the future"),
        (days("1990-01-01", "2024-10-01"), "before the first partition"),
        ({"start_date": "2024-10-01"}, "end_date"),
        ({"start_date": 1_700_000_000, "end_date": "2024-10-01"}, "expected a date"),
        (days("2024-10-01", "2024-10-02", feed="nobody"), "there is no feed"),
        ([], "body"),
    ]

    for body, said in wrong:
        answer = client.post(_START, json=body)
        assert (answer.status_code, answer.json()["status"]) == (422, "error"), body
        assert said in answer.json()["message"]

    assert conn.execute("SELECT count(*) FROM ops.backfills").fetchone() == (0,)


def test_progress_has_every_field_of_the_original(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    task = client.post(_START, json=days("2024-10-01", "2024-10-09")).json()["data"]
    started_at = datetime(2024, 11, 1, 4, tzinfo=UTC)
    conn.execute("UPDATE ops.backfills SET state = 'running', started_at = %s", (started_at,))
    run_id = plant_run(conn, task["backfill_id"], "run-1")
    plant_load(conn, run_id, "2024-10-01", "skipped", reason="not_a_session", started_at=started_at)
    plant_load(
        conn,
        run_id,
        "2024-10-02",
        "failed",
        error=("SourceUnavailable", "connection timeout"),
        started_at=started_at,
    )
    plant_load(conn, run_id, "2024-10-03", started_at=started_at)
    plant_load(conn, run_id, "2024-10-04", "running", started_at=started_at)

    answer = client.get(f"{_PROGRESS}/{task['task_id']}")

    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    for name, kind in _OLD_FIELDS.items():
        assert isinstance(data[name], kind), name
    expected = {
        "status": "running",
        "total": 9,
        "current": 3,
        "success": 1,
        "failed": 1,
        "skipped": 1,
        "current_date": "2024-10-04",
        "message": "正在同步 2024-10-04... (33.3%)",
        "progress_percent": 33.3,
        "start_time": "2024-11-01T12:00:00+08:00",
        "end_time": None,
        "duration_seconds": None,
        "errors": [
            {
                "date": "2024-10-02",
                "error": "connection timeout",
                "time": "2024-11-01T12:00:02+08:00",
            }
        ],
        "errors_total": 1,
        "next_errors_before": None,
    }
    assert {name: data[name] for name in expected} == expected
    assert datetime.fromisoformat(data["estimated_completion"]).utcoffset() is not None


def test_a_finished_task_says_when_and_how_long(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    task = client.post(_START, json=days("2024-10-01", "2024-10-03")).json()["data"]
    run_id = plant_run(conn, task["backfill_id"], "run-1")
    for day in ("2024-10-01", "2024-10-02", "2024-10-03"):
        plant_load(conn, run_id, day)
    conn.execute(
        "UPDATE ops.backfills SET state = 'success', started_at = '2024-11-01 00:00Z',"
        " ended_at = '2024-11-01 00:15:30Z'"
    )

    data = client.get(f"{_PROGRESS}/{task['task_id']}").json()["data"]
    english = client.get(f"{_PROGRESS}/{task['task_id']}?lang=en").json()["data"]

    assert (data["status"], data["progress_percent"]) == ("completed", 100.0)
    assert data["message"] == "✅ 批量同步完成: 成功3, 失败0, 跳过0, 耗时15分30秒"
    assert english["message"].startswith("✅ batch sync finished: success 3")
    assert (data["end_time"], data["duration_seconds"]) == ("2024-11-01T08:15:30+08:00", 930.0)
    assert data["estimated_completion"] is None


def test_statuses_are_words_that_clients_know(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    task = client.post(_START, json=days("2024-10-01", "2024-10-03")).json()["data"]
    expected = {
        ("requested", "run"): "running",
        ("running", "pause"): "running",
        ("paused", "pause"): "paused",
        ("running", "cancel"): "running",
        ("canceled", "cancel"): "cancelled",
        ("partial", "run"): "partial",
        ("failed", "run"): "failed",
    }
    seen = {}

    for state, wanted in expected:
        is_over = state in ("canceled", "partial", "failed")
        conn.execute(
            "UPDATE ops.backfills SET state = %s, wanted = %s,"
            " ended_at = CASE WHEN %s THEN now() END",
            (state, wanted, is_over),
        )
        data = client.get(f"{_PROGRESS}/{task['task_id']}").json()["data"]
        seen[state, wanted] = data["status"]

    assert seen == expected


def test_every_error_comes_on_some_page(client: httpx.Client, conn: psycopg.Connection) -> None:
    task = client.post(_START, json=days("2024-09-01", "2024-09-30")).json()["data"]
    run_id = plant_run(conn, task["backfill_id"], "run-1")
    dates = [f"2024-09-{number:02d}" for number in range(1, 26)]
    for day in dates:
        plant_load(conn, run_id, day, "failed", error=("SourceUnavailable", f"no answer for {day}"))
    seen: list[str] = []
    before = None
    sizes = []

    while True:
        query = {} if before is None else {"errors_before": before}
        data = client.get(f"{_PROGRESS}/{task['task_id']}", params=query).json()["data"]
        assert data["errors_total"] == 25
        sizes.append(len(data["errors"]))
        seen += [error["date"] for error in data["errors"]]
        before = data["next_errors_before"]
        if before is None:
            break

    assert sizes == [10, 10, 5]
    assert seen == dates[::-1]


def test_an_unknown_task_is_not_found(client: httpx.Client) -> None:
    for task_id in ("nothing", "2024-10-01_2024-10-09_1697587200", "1"):
        answer = client.get(f"{_PROGRESS}/{task_id}")

        assert (answer.status_code, answer.json()["status"]) == (404, "error")
        assert "there is no task" in answer.json()["message"]


def test_starting_needs_the_right_to_launch(api: Api, client: httpx.Client) -> None:
    body = days("2024-10-01", "2024-10-02")

    refused = client.post(_START, json=body, headers=api.headers(Scope.READ))
    nobody = client.post(_START, json=body, headers={"Authorization": ""})

    assert (refused.status_code, nobody.status_code) == (403, 401)
    assert refused.json()["status"] == nobody.json()["status"] == "error"
