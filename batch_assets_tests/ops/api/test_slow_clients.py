"""Clients that send or read a byte at a time, or nothing, are let go within the bounds of [api]."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.sync.client import connect as connect_websocket

from batch_assets.ops.api.slow_clients import Patience, bounded_protocol
from batch_assets_tests.polling import wait_until

SHORT = Patience(
    header_seconds=0.3,
    body_seconds=0.3,
    answer_seconds=0.3,
    bytes_per_second=10_000,
    max_connections=4,
)
# What a client may take above its allowance on a loaded machine, before a test calls it unbounded.
LATE_SECONDS = 15.0
Answer = Callable[[Receive, Send], Awaitable[None]]


async def read_everything(receive: Receive, send: Send) -> None:
    """200 with the size of the body."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


class Application:
    """An application whose answer a test chooses; knows what is under way."""

    def __init__(self, answer: Answer = read_everything) -> None:
        self.answer = answer
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        self.under_way += 1
        try:
            await self.answer(receive, send)
        finally:
            self.under_way -= 1


class Served:
    """A server on loopback, seen from its clients."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server = server
        self.port = port

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=LATE_SECONDS)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def wait_for_no_connection(self) -> None:
        wait_until(lambda: not self.server.server_state.connections, "all are let go", LATE_SECONDS)


@contextmanager
def serving(application: Application, patience: Patience = SHORT) -> Iterator[Served]:
    config = uvicorn.Config(
        application,
        port=0,
        log_config=None,
        lifespan="off",
        ws="websockets-sansio",
        http=bounded_protocol(patience),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the server to listen")
        [listening] = server.servers[0].sockets
        yield Served(server, listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def trickle(client: socket.socket, sent: bytes) -> bytes:
    """Send a byte at a time until the server answers or closes; returns what it said."""
    client.settimeout(0.02)
    deadline = time.monotonic() + LATE_SECONDS
    for number in range(10**6):
        assert time.monotonic() < deadline, "still connected"
        with contextlib.suppress(TimeoutError, OSError):
            client.send(sent[number % len(sent) :][:1])
        try:
            return client.recv(65_536)
        except TimeoutError:
            continue
        except OSError:
            return b""
    raise AssertionError


def test_a_head_that_comes_a_byte_at_a_time_is_refused_while_others_are_served() -> None:
    with serving(Application()) as served, served.connect() as slow:
        said: list[bytes] = []
        sending = threading.Thread(
            target=lambda: said.append(trickle(slow, b"GET / HTTP/1.1\r\nX: " + b"x" * 10**6))
        )
        sending.start()
        answer = httpx.get(f"http://127.0.0.1:{served.port}/", trust_env=False)
        sending.join()

        assert answer.status_code == 200
        assert said[0].startswith(b"HTTP/1.1 408 ")
        assert b"expected within 0.3 s" in said[0]
        served.wait_for_no_connection()


def test_a_client_that_says_nothing_is_let_go() -> None:
    with serving(Application()) as served, served.connect() as silent:
        assert silent.recv(65_536).startswith(b"HTTP/1.1 408 ")
        assert silent.recv(1) == b""


def test_a_body_that_comes_a_byte_at_a_time_is_refused() -> None:
    application = Application()
    with serving(application) as served, served.connect() as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")

        said = trickle(slow, b"x")

        assert said.startswith(b"HTTP/1.1 408 ")
        wait_until(lambda: application.under_way == 0, "the application gives up", LATE_SECONDS)
        served.wait_for_no_connection()


def test_a_body_that_takes_long_at_a_good_rate_arrives() -> None:
    with serving(Application()) as served, served.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n")
        started = time.monotonic()
        for _ in range(40):
            client.sendall(b"x" * 1_000)
            threading.Event().wait(0.02)

        assert b"40000" in client.recv(65_536)
        assert time.monotonic() - started > 2 * SHORT.body_seconds


def test_a_client_is_not_charged_for_an_application_that_reads_slowly() -> None:
    async def read_late(receive: Receive, send: Send) -> None:
        await asyncio.sleep(3 * SHORT.body_seconds)
        await read_everything(receive, send)

    with serving(Application(read_late)) as served, served.connect() as client:
        # More than the server takes at once: it stops reading until the application does.
        body = b"x" * 8_000_000
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n" + body)

        assert b"8000000" in client.recv(65_536)


async def send_until_gone(receive: Receive, send: Send) -> None:
    """An answer without end, for as long as there is somebody to take it."""
    leaving = asyncio.ensure_future(_receive_disconnect(receive))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not leaving.done():
        await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await asyncio.sleep(0)


async def _receive_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize("bytes_at_a_time", [0, 1])
def test_an_answer_that_nobody_reads_is_given_up(bytes_at_a_time: int) -> None:
    application = Application(send_until_gone)
    with serving(application) as served, served.connect() as deaf:
        deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: application.under_way == 1, "the answer begins", LATE_SECONDS)
        deaf.settimeout(0.02)
        deadline = time.monotonic() + LATE_SECONDS
        while application.under_way:
            assert time.monotonic() < deadline, "still answering"
            if bytes_at_a_time:
                with contextlib.suppress(OSError):
                    deaf.recv(bytes_at_a_time)
            threading.Event().wait(0.02)

        served.wait_for_no_connection()


def test_a_short_answer_that_nobody_reads_does_not_outlive_its_request() -> None:
    async def answer_more_than_a_socket_holds(receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 20_000_000})

    application = Application(answer_more_than_a_socket_holds)
    with serving(application) as served, served.connect() as deaf:
        deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

        wait_until(lambda: bool(served.server.server_state.connections), "it is there", 60)
        served.wait_for_no_connection()


def test_more_clients_than_there_is_room_for_are_refused_until_some_leave() -> None:
    patient = Patience(header_seconds=60, max_connections=2)
    with serving(Application(), patient) as served:
        with served.connect(), served.connect():
            wait_until(lambda: len(served.server.server_state.connections) == 2, "both are in")
            with served.connect() as third:
                assert third.recv(65_536).startswith(b"HTTP/1.1 503 ")
        served.wait_for_no_connection()

        assert httpx.get(f"http://127.0.0.1:{served.port}/", trust_env=False).status_code == 200


def test_a_head_without_end_is_refused_before_it_fills_the_memory() -> None:
    with serving(Application(), Patience()) as served, served.connect() as client:
        sent = 0
        with contextlib.suppress(OSError):
            client.sendall(b"GET / HTTP/1.1\r\n")
            while sent < 50_000_000:
                sent += client.send(b"X-Long: " + b"x" * 10_000 + b"\r\n")

        assert sent < 50_000_000


def test_what_takes_its_time_for_good_reasons_is_kept() -> None:
    async def answer_late(receive: Receive, send: Send) -> None:
        await asyncio.sleep(1.3 * SHORT.header_seconds)
        await read_everything(receive, send)

    with serving(Application(answer_late)) as served:
        with httpx.Client(trust_env=False) as client:
            # The same connection for both, each longer than a head may take.
            answers = [client.get(f"http://127.0.0.1:{served.port}/") for _ in range(2)]
        with connect_websocket(f"ws://127.0.0.1:{served.port}/", proxy=None) as listener:
            threading.Event().wait(1.3 * SHORT.header_seconds)
            listener.send("still there")

            assert listener.recv(timeout=LATE_SECONDS) == "still there"
        assert [answer.status_code for answer in answers] == [200, 200]
