"""A vendor's HTTP server on loopback: answers that speak the vendor's wire, and faults."""

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

DRIP_SECONDS = 0.05


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answers = Callable[[Request], Answer]


class HttpVendorServer:
    """Serves what `answers` says; `faults` are taken one for each request.

    Faults: silent, reset, close, half_body, drip, drip_head, truncated (a whole but cut body),
    html, a status (`503`), `429:` and seconds, or an Answer to give instead.

    Attributes:
        answers: From a request to the vendor's answer.
        faults: Taken from the left.
        requests: Every request, in order.
        latency_seconds: Waited before each answer.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.faults: deque[str | Answer] = deque()
        self.requests: list[Request] = []
        self.latency_seconds = 0.0
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.vendor = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    vendor: HttpVendorServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def end_connections(self) -> None:
        for connection in list(self._connections):
            connection.close()

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has gone, which is what the faults are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing: tests read `requests`."""

    def _serve(self, body: bytes) -> None:
        vendor = self.server.vendor
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        request = Request(self.command, parts.path, query, dict(self.headers), body)
        vendor.requests.append(request)
        fault = vendor.faults.popleft() if vendor.faults else ""
        if vendor.latency_seconds:
            vendor.stopping.wait(vendor.latency_seconds)
        if isinstance(fault, Answer):
            self._send(fault)
        elif fault:
            self._misbehave(fault, vendor.answers(request))
        else:
            self._send(vendor.answers(request))

    def _send(self, answer: Answer) -> None:
        self.wfile.write(self._encode(answer) + answer.body)
        self.wfile.flush()

    def _encode(self, answer: Answer) -> bytes:
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        if self.close_connection:
            # Said as a server does, or the client may ask again on a connection about to close.
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} Status", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def _misbehave(self, fault: str, answer: Answer) -> None:
        whole = self._encode(answer) + answer.body
        self.close_connection = True
        if fault == "silent":
            self.server.vendor.stopping.wait(30)
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        elif fault == "half_body":
            self.connection.sendall(whole[: -len(answer.body) // 2])
        elif fault == "drip":
            self._drip(self._encode(answer), answer.body)
        elif fault == "drip_head":
            self._drip(b"", whole)
        elif fault == "truncated":
            self._send(Answer(answer.body[: len(answer.body) // 2]))
        elif fault == "html":
            self._send(Answer(b"<!DOCTYPE html><title>Please log in</title>"))
        elif fault.startswith("429:"):
            self._send(Answer(b"slow down", 429, {"Retry-After": fault[4:]}))
        elif fault.isdecimal():
            self._send(Answer(b"the server says no", int(fault)))

    def _drip(self, head: bytes, rest: bytes) -> None:
        self.connection.sendall(head)
        for at in range(len(rest)):
            self.connection.sendall(rest[at : at + 1])
            # A pace, not a synchronisation.
            if self.server.vendor.stopping.wait(DRIP_SECONDS):
                return
