"""POST /start_etl and GET /progress, as the original ETL service answered."""

from batch_assets.ops.scope import Scope
from batch_assets_tests.ingest.devices.landing import ask
from batch_assets_tests.ingest.tables.transfers import Project
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.polling import wait_until

_TRANSFER = """
[tables.transfers.copy_orders]
table = "public.orders"
target = "tables.orders"
key = ["id"]
"""


def test_a_transfer_is_started_once_and_its_progress_means_something(api: Api) -> None:
    Project(api.url, api.url).create_orders(2_000)

    with api.client(api.build(_TRANSFER)) as client:
        client.headers.update(api.headers(Scope.LAUNCH))
        before = client.get("/progress").json()
        started = client.post("/start_etl")
        again = client.post("/start_etl")
        during = client.get("/progress").json()
        wait_until(
            lambda: client.get("/progress").json()["status"] in ("completed", "failed"),
            "the transfer to end",
        )
        after = client.get("/progress").json()

    assert (before["total"], before["processed"]) == (0, 0)
    assert (started.status_code, started.json()) == (202, {"status": "started"})
    assert again.status_code == 409
    assert (during["total"], during["status"]) == (2_000, "running")
    assert after == {"total": 2_000, "processed": 2_000, "status": "completed", "error": ""}
    assert ask(api.url, "SELECT count(*) FROM tables.orders") == [(2_000,)]
    assert ask(api.url, "SELECT actor, action, subject FROM ops.audit") == [
        ("tester launch", "transfer.start", "copy_orders")
    ]


def test_what_cannot_be_started_says_why(api: Api) -> None:
    with api.client(api.build("[api]\netl_transfer = 'absent'\n" + _TRANSFER)) as client:
        client.headers.update(api.headers(Scope.LAUNCH, "one"))
        unknown = client.post("/start_etl")
        reader = client.post("/start_etl", headers=api.headers(Scope.READ))
    with api.client(api.build(_TRANSFER)) as client:
        client.headers.update(api.headers(Scope.LAUNCH, "two"))
        no_table = client.post("/start_etl")
        progress = client.get("/progress").json()

    assert (unknown.status_code, reader.status_code) == (422, 403)
    assert "etl_transfer in [api]" in unknown.json()["detail"]
    assert no_table.status_code == 422
    assert progress["status"] == "idle"
