"""Live progress: told at once, with each change and at the end, to a bounded number."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_socket

from batch_assets.errors import DatabaseUnavailable
from batch_assets.ops.api.live import Broadcast, TooManyListeners
from batch_assets.ops.scope import Scope
from batch_assets_tests.ops.api.conftest import Api
from batch_assets_tests.ops.api.test_sync import FEEDS
from batch_assets_tests.ops.backfills.planted import plant_load, plant_run
from batch_assets_tests.polling import wait_until

_CONFIGURATION = FEEDS + "\n[api]\nlook_every_seconds = 0.1\nmax_listeners = 3\n"


@pytest.fixture
def app(api: Api) -> FastAPI:
    return api.build(_CONFIGURATION)


@pytest.fixture
def client(api: Api, app: FastAPI) -> Iterator[httpx.Client]:
    with api.client(app) as opened:
        opened.headers.update(api.headers(Scope.LAUNCH))
        yield opened


@pytest.fixture
def conn(api: Api) -> Iterator[psycopg.Connection]:
    with psycopg.connect(api.url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def backfill(client: httpx.Client) -> int:
    answer = client.post("/api/v1/backfills", json={"first": "2024-10-01", "last": "2024-10-10"})
    return int(answer.json()["backfill"]["backfill_id"])


def end(conn: psycopg.Connection) -> None:
    conn.execute("UPDATE ops.backfills SET state = 'success', ended_at = clock_timestamp()")


def read_events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


def test_events_come_at_once_with_changes_and_stop_at_the_end(
    client: httpx.Client, conn: psycopg.Connection, backfill: int
) -> None:
    run_id = plant_run(conn, backfill, "run-1")

    with client.stream("GET", f"/api/v1/backfills/{backfill}/events") as response:
        events = read_events(response)
        first = next(events)
        plant_load(conn, run_id, "2024-10-01")
        changed = next(event for event in events if event[1]["done"])
        end(conn)
        rest = list(events)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert (first[0], first[1]["done"], first[1]["total"]) == ("progress", 0, 10)
    assert (changed[1]["done"], changed[1]["rows_read"]) == (1, 100)
    assert (rest[-1][0], rest[-1][1]["backfill"]["state"]) == ("ended", "success")


def test_socket_tells_the_same_and_closes_at_the_end(
    client: httpx.Client, conn: psycopg.Connection, backfill: int
) -> None:
    url = (
        str(client.base_url).rstrip("/").replace("http", "ws") + f"/api/v1/backfills/{backfill}/ws"
    )
    token = client.headers["authorization"].partition(" ")[2]

    with (
        open_socket(url, additional_headers=[("Authorization", f"Bearer {token}")]) as by_header,
        open_socket(url, subprotocols=[f"bearer.{token}"]) as by_protocol,  # type: ignore[list-item]
    ):
        first = [json.loads(socket.recv(10)) for socket in (by_header, by_protocol)]
        end(conn)
        last = [[json.loads(text) for text in socket][-1] for socket in (by_header, by_protocol)]

    assert [one["event"] for one in first] == ["progress", "progress"]
    assert [one["event"] for one in last] == ["ended", "ended"]
    assert by_header.close_code == 1000


def test_socket_without_a_token_or_a_backfill_is_closed_with_a_reason(
    client: httpx.Client, backfill: int
) -> None:
    base = str(client.base_url).rstrip("/").replace("http", "ws") + "/api/v1/backfills"
    headers = [("Authorization", client.headers["authorization"])]

    for path, sent, code in (
        (f"{base}/{backfill}/ws", [], 4401),
        (f"{base}/{backfill}/ws", [("Authorization", "Bearer ba_1_wrong")], 4401),
        (f"{base}/99/ws", headers, 4404),
        (f"{base}/{2**70}/ws", headers, 4404),
    ):
        with open_socket(path, additional_headers=sent) as socket:
            with pytest.raises(ConnectionClosed):
                socket.recv(10)
            assert socket.close_code == code

    path = f"/api/v1/backfills/{backfill}/events"
    assert client.get(path, headers={"Authorization": ""}).status_code == 401
    assert client.get("/api/v1/backfills/99/events").status_code == 404


def test_listeners_are_bounded_and_who_leaves_makes_room(
    client: httpx.Client, app: FastAPI, backfill: int
) -> None:
    path = f"/api/v1/backfills/{backfill}/events"
    streams = [client.stream("GET", path) for _ in range(3)]
    # Kept: a reader that is let go closes its connection.
    readers = [read_events(stream.__enter__()) for stream in streams]
    for reader in readers:
        next(reader)

    refused = client.get(path)
    for stream in streams:
        stream.__exit__(None, None, None)
    wait_until(lambda: app.state.broadcast.listener_count == 0, "the listeners to be let go")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    with client.stream("GET", path) as stream_again:
        assert next(read_events(stream_again))[0] == "progress"


def test_one_look_serves_everybody_and_nobody_costs_nothing() -> None:
    looks: list[list[int]] = []
    numbers = iter(range(1_000_000))

    def look(backfill_ids: list[int]) -> dict[int, tuple[dict[str, Any], bool]]:
        looks.append(backfill_ids)
        number = next(numbers)
        return {one: ({"number": number}, number >= 20) for one in backfill_ids}

    async def listen_all() -> list[list[int]]:
        broadcast = Broadcast(look, every_seconds=0.01, max_listeners=50)

        async def listen(backfill_id: int, pause_seconds: float) -> list[int]:
            seen = []
            async for document in broadcast.listen(backfill_id):
                seen.append(document["number"])
                await asyncio.sleep(pause_seconds)
            return seen

        told = await asyncio.gather(*(listen(n % 5, 0.0) for n in range(49)), listen(1, 0.1))
        before = len(looks)
        await asyncio.sleep(0.1)
        # One may have been under way when the last listener left.
        assert len(looks) <= before + 1
        return told

    told = asyncio.run(listen_all())

    assert looks[-1] in ([0, 1, 2, 3, 4], [1])
    assert len(looks) <= 40
    assert all(seen[-1] >= 20 for seen in told)
    # The one that reads slowly misses what is in between, and learns the end.
    assert len(told[-1]) < len(told[1])


def test_listening_survives_an_outage_of_the_database() -> None:
    outages = iter([True, True, False])

    def look(backfill_ids: list[int]) -> dict[int, tuple[dict[str, Any], bool]]:
        if next(outages):
            raise DatabaseUnavailable("the database is restarting; try again")
        return {one: ({"event": "ended"}, True) for one in backfill_ids}

    async def listen() -> list[dict[str, Any]]:
        broadcast = Broadcast(look, every_seconds=0.01, max_listeners=1)
        return [document async for document in broadcast.listen(1)]

    assert asyncio.run(listen()) == [{"event": "ended"}]


def test_closing_ends_who_listens_and_takes_nobody_more() -> None:
    async def run() -> tuple[int, int]:
        broadcast = Broadcast(lambda _: {}, every_seconds=0.01, max_listeners=5)

        async def listen() -> int:
            return len([document async for document in broadcast.listen(1)])

        listening = asyncio.ensure_future(listen())
        while not broadcast.listener_count:
            await asyncio.sleep(0)
        await broadcast.close()
        with pytest.raises(TooManyListeners):
            await listen()
        return await listening, broadcast.listener_count

    assert asyncio.run(run()) == (0, 0)


def test_a_client_that_takes_nothing_does_not_hold_up_the_others(
    client: httpx.Client, conn: psycopg.Connection, backfill: int
) -> None:
    path = f"/api/v1/backfills/{backfill}/events"
    seen: list[str] = []

    def read_all() -> None:
        with client.stream("GET", path) as response:
            seen.extend(kind for kind, _ in read_events(response))

    with client.stream("GET", path):
        reader = threading.Thread(target=read_all)
        reader.start()
        wait_until(lambda: len(seen) > 0 or not reader.is_alive(), "the first event")
        end(conn)
        reader.join(20)

    assert not reader.is_alive()
    assert seen[-1] == "ended"
