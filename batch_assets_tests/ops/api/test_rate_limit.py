from batch_assets.ops.api.rate_limit import _MAX_KNOWN, Buckets
from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api


def test_what_comes_too_often_is_told_when_to_come_again(api: Api) -> None:
    app = api.build("[api]\nrequests_per_second = 0.01\nrequest_burst = 3\n")

    with api.client(app) as client:
        headers = api.headers(Scope.READ)
        answers = [client.get("/api/v1/backfills", headers=headers) for _ in range(5)]
        probes = {client.get("/healthz").status_code for _ in range(5)}

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    # A busy machine takes its time for the requests before.
    assert 50 <= int(answers[-1].headers["Retry-After"]) <= 200
    assert "requests_per_second" in answers[-1].json()["detail"]
    assert probes == {200}


def test_a_bucket_fills_up_again_and_each_name_has_its_own() -> None:
    now = 0.0
    buckets = Buckets(2.0, 3, lambda: now)

    assert [buckets.take(b"a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take(b"b") == 0
    now = 0.5
    assert [buckets.take(b"a") for _ in range(2)] == [0, 0.5]
    now = 100.0
    assert [buckets.take(b"a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_memory_is_bounded_however_many_ask() -> None:
    buckets = Buckets(1.0, 1, lambda: 0.0)

    for number in range(_MAX_KNOWN + 500):
        buckets.take(b"%d" % number)

    assert len(buckets._buckets) == _MAX_KNOWN
    assert buckets.take(b"%d" % (_MAX_KNOWN + 499)) > 0
