"""Backfills over HTTP: everything the command line can do to them, each change audited."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.api.test_sync import FEEDS
from batch_assets_tests.ops.backfills.planted import plant_load, plant_run

_ALL = "/api/v1/backfills"


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    with api.client(api.build(FEEDS)) as opened:
        opened.headers.update(api.headers(Scope.LAUNCH, "ann"))
        yield opened


@pytest.fixture
def conn(api: Api) -> Iterator[psycopg.Connection]:
    with psycopg.connect(api.url, autocommit=True) as opened:
        yield opened


def launch(client: httpx.Client, first: str = "2024-10-01", last: str = "2024-10-10") -> str:
    answer = client.post(_ALL, json={"first": first, "last": last})
    assert answer.status_code == 202, answer.text
    return f"{_ALL}/{answer.json()['backfill']['backfill_id']}"


def test_a_backfill_is_paused_resumed_reordered_and_canceled_with_an_audit_row_each(
    client: httpx.Client,
) -> None:
    path = launch(client)

    paused = client.post(f"{path}/pause").json()
    resumed = client.post(f"{path}/resume").json()
    first = client.put(f"{path}/priority", json={"priority": 5}).json()
    canceled = client.post(f"{path}/cancel").json()

    assert [one["wanted"] for one in (paused, resumed, canceled)] == ["pause", "run", "cancel"]
    assert (paused["phase"], first["priority"], canceled["phase"]) == ("pausing", 5, "canceling")
    audit = client.get(f"{path}/audit").json()
    assert [entry["action"].removeprefix("backfill.") for entry in audit] == [
        "cancel",
        "priority",
        "resume",
        "pause",
        "launch",
    ]
    assert {entry["actor"] for entry in audit} == {"ann launch"}
    assert client.post(f"{path}/resume").status_code == 409


def test_what_failed_is_loaded_again_once_it_has_ended(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    path = launch(client)
    number = int(path.rpartition("/")[2])
    run_id = plant_run(conn, number, "run-1")
    plant_load(conn, run_id, "2024-10-01")
    plant_load(conn, run_id, "2024-10-02", "failed", error=("SourceUnavailable", "no answer"))
    too_early = client.post(f"{path}/retry")
    conn.execute("UPDATE ops.backfills SET state = 'partial', ended_at = clock_timestamp()")

    errors = client.get(f"{path}/errors", params={"limit": 8}).json()
    rest = client.get(f"{path}/errors", params={"before": errors["next_before"]}).json()
    retried = client.post(f"{path}/retry")
    changed = client.post(f"{path}/cancel")

    assert too_early.status_code == 422
    assert (errors["total"], len(errors["errors"]), len(rest["errors"])) == (9, 8, 1)
    assert rest["errors"][0]["message"] == "no answer"
    assert rest["next_before"] is None
    assert retried.status_code == 202
    assert retried.json()["backfill"]["retry_of"] == number
    assert retried.json()["backfill"]["partitions"] == 9
    assert changed.status_code == 409


def test_progress_counts_partitions_and_rows(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    path = launch(client)
    run_id = plant_run(conn, int(path.rpartition("/")[2]), "run-1")
    plant_load(conn, run_id, "2024-10-01", rows=50, rejected=2)
    plant_load(conn, run_id, "2024-10-02", "running")

    found = client.get(path).json()

    assert (found["total"], found["done"], found["success"], found["running"]) == (10, 1, 1, 1)
    assert (found["rows_read"], found["rows_rejected"], found["current_key"]) == (
        50,
        2,
        "2024-10-02",
    )
    assert found["backfill"]["requested_at"].endswith("+08:00")


def test_history_comes_in_pages_newest_first(client: httpx.Client) -> None:
    for day in ("2024-10-01", "2024-10-02", "2024-10-03"):
        launch(client, day, day)

    first = client.get(_ALL, params={"limit": 2}).json()
    second = client.get(_ALL, params={"limit": 2, "before": first["next_before"]}).json()

    keys = [one["first_key"] for one in first["backfills"] + second["backfills"]]
    assert keys == ["2024-10-03", "2024-10-02", "2024-10-01"]
    assert second["next_before"] is None
    assert client.get(_ALL, params={"feed": "free_2"}).json()["backfills"] == []


def test_a_feed_is_paused_for_everybody(client: httpx.Client) -> None:
    path = launch(client)

    paused = client.post("/api/v1/feeds/cn/pause")
    listed = client.get("/api/v1/paused-feeds").json()
    seen = client.get(path).json()["backfill"]
    client.post("/api/v1/feeds/cn/resume")

    assert paused.json()["is_paused"]
    assert [(one["feed"], one["paused_by"]) for one in listed] == [("cn", "ann launch")]
    assert (seen["is_feed_paused"], seen["phase"]) == (True, "pausing")
    assert client.get("/api/v1/paused-feeds").json() == []
    assert client.post("/api/v1/feeds/nobody/pause").status_code == 422


def test_an_unknown_backfill_is_not_found_and_an_overlapping_one_refused(
    client: httpx.Client,
) -> None:
    launch(client)
    for path in ("", "/errors", "/audit"):
        assert client.get(f"{_ALL}/99{path}").status_code == 404
    for action in ("pause", "resume", "cancel", "retry"):
        assert client.post(f"{_ALL}/99/{action}").status_code == 404

    refused = client.post(_ALL, json={"first": "2024-10-10", "last": "2024-10-11"})

    assert refused.status_code == 409
    assert "batch-assets cancel" in refused.json()["detail"]


def test_whoever_may_only_read_changes_nothing(api: Api, client: httpx.Client) -> None:
    path = launch(client)
    reader = api.headers(Scope.READ)

    answers = [
        client.post(f"{path}/{action}", headers=reader)
        for action in ("pause", "resume", "cancel", "retry")
    ]
    answers.append(client.put(f"{path}/priority", json={"priority": 1}, headers=reader))
    answers.append(client.post("/api/v1/feeds/cn/pause", headers=reader))

    assert {answer.status_code for answer in answers} == {403}
    assert client.get(path, headers=reader).json()["backfill"]["wanted"] == "run"


def test_what_dagster_loads_with_other_assets_is_refused_with_what_to_do_instead(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    path = launch(client)
    conn.execute(
        "INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions,"
        " is_adopted, is_shared) SELECT 'both', backfill_id, 10, true, true FROM ops.backfills"
    )

    answers = [client.post(f"{path}/{change}") for change in ("pause", "cancel")]
    answers.append(client.put(f"{path}/priority", json={"priority": 5}))

    for answer in answers:
        assert answer.status_code == 422
        assert "cancel both as a whole on Dagster's page of it" in answer.json()["detail"]
    (kept,) = client.get(_ALL).json()["backfills"]
    assert (kept["wanted"], kept["priority"]) == ("run", -10)


def test_backfills_of_a_transfer_are_listed_by_its_asset(
    client: httpx.Client, conn: psycopg.Connection
) -> None:
    launch(client)
    launch(client, "2024-10-11", "2024-10-12")
    conn.execute("UPDATE ops.backfills SET feed = 'tables/orders' WHERE backfill_id = 1")

    answer = client.get(_ALL, params={"feed": "tables/orders"})

    assert [one["backfill_id"] for one in answer.json()["backfills"]] == [1]
    assert client.get(_ALL, params={"feed": "../orders"}).status_code == 422
