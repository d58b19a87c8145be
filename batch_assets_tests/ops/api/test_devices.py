"""POST /api/devices/records: committed before it is answered, and every record has an answer."""

import json

import httpx

from batch_assets.ops.scope import Scope
from batch_assets_tests.ingest.devices.landing import Plan, ask, body_of, drain, stored
from batch_assets_tests.ops.api.conftest import Api

_PATH = "/api/devices/records"
_WAITING = "SELECT count(*) FROM devices.inbox"


def send(client: httpx.Client, headers: dict[str, str], content: object) -> httpx.Response:
    return client.post(_PATH, json=content, headers=headers)


def test_record_of_an_old_client_is_committed_and_answered_as_it_knows(api: Api) -> None:
    body = {**body_of("SN1", 1, 60), "daily_data": {}, "enable_alerts": True, "config_info": None}

    with api.client() as client:
        answer = send(client, api.headers(Scope.LAUNCH), body)

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "success": True,
            "reason": "queued",
            "message": "数据已加入分片处理队列",
            "accepted": 1,
            "rejected": [],
        },
    )
    assert ask(api.url, _WAITING) == [(1,)]
    assert drain(Plan(api.url, "")).ledger.inserted == 1


def test_good_records_of_a_batch_are_taken_and_bad_ones_listed(api: Api) -> None:
    good, bad = body_of("SN1", 1, 60), body_of("SN2", 1, 999)
    sent = [good, bad, "no object", {"device_sn": "SN3"}, body_of("", 2, 60), body_of("SN4", 3, 7)]

    with api.client() as client:
        answer = send(client, api.headers(Scope.LAUNCH), sent)

    found = answer.json()
    assert (answer.status_code, found["success"], found["accepted"]) == (200, True, 2)
    rules = [(one["index"], one["violations"][0]["rule"]) for one in found["rejected"]]
    assert rules == [
        (1, "impossible_value"),
        (2, "not_a_json_object"),
        (3, "no_data"),
        (4, "missing_value"),
    ]
    assert found["rejected"][0]["violations"][0]["observed"] == "999"
    report = drain(Plan(api.url, ""))
    assert (report.ledger.inserted, report.ledger.rejected) == (2, 0)


def test_lines_are_judged_one_by_one(api: Api) -> None:
    lines = [json.dumps(body_of("SN1", 1, 60)), "{broken", json.dumps(body_of("SN1", 2, 61))]
    headers = {**api.headers(Scope.LAUNCH), "Content-Type": "application/x-ndjson"}

    with api.client() as client:
        answer = client.post(_PATH, content="\n".join(lines), headers=headers)

    assert (answer.json()["accepted"], answer.json()["rejected"][0]["index"]) == (2, 1)
    drain(Plan(api.url, ""))
    assert stored(api.url) == [(("SN1", 1), 60), (("SN1", 2), 61)]


def test_full_inbox_takes_nothing_and_says_when_to_come_again(api: Api) -> None:
    app = api.build("[devices]\ninbox_rows_max = 5\nbatch_seconds = 3\n")

    with api.client(app) as client:
        headers = api.headers(Scope.LAUNCH)
        assert send(client, headers, [body_of("SN1", n, 60) for n in range(4)]).status_code == 200
        full = send(client, headers, [body_of("SN1", n, 60) for n in range(2)])
        drain(Plan(api.url, ""))
        after = send(client, headers, [body_of("SN1", n, 60) for n in range(2)])

    assert (full.status_code, full.headers["Retry-After"]) == (429, "3")
    assert (full.json()["success"], full.json()["reason"]) == (False, "queue_full")
    assert "holds 4 records of 5, and 2 were sent" in full.json()["message"]
    assert after.status_code == 200


def test_what_cannot_be_taken_is_refused_with_a_reason(api: Api) -> None:
    app = api.build("[devices]\nrequest_bytes_max = 2048\n")

    with api.client(app) as client:
        headers = api.headers(Scope.LAUNCH)
        broken = client.post(_PATH, content=b"{", headers=headers)
        nothing = send(client, headers, [{"device_sn": "SN1"}])
        large = send(client, headers, [body_of("SN1", n, 60) for n in range(60)])
        reader = send(client, api.headers(Scope.READ), body_of("SN1", 1, 60))
        nobody = send(client, {}, body_of("SN1", 1, 60))

    assert (broken.status_code, broken.json()["reason"]) == (400, "error")
    assert "no JSON in UTF-8" in broken.json()["message"]
    assert (nothing.status_code, nothing.json()["success"]) == (400, False)
    assert large.status_code == 413
    assert "request_bytes_max" in large.json()["detail"]
    assert (reader.status_code, nobody.status_code) == (403, 401)
    assert ask(api.url, _WAITING) == [(0,)]
