import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from batch_assets.errors import ConfigurationError, RunRefused, WebserverUnavailable
from batch_assets.runs.graphql import post_query
from batch_assets.runs.launch import launch_backfill


class _Answer(BaseHTTPRequestHandler):
    status = 200
    body = b"{}"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture
def server_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_address_that_is_not_http_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected http://host:port"):
        post_query("file:///etc/passwd", "{ version }")


def test_silent_address_is_unavailable() -> None:
    with pytest.raises(WebserverUnavailable, match="does not answer"):
        post_query("http://127.0.0.1:9", "{ version }")


@pytest.mark.parametrize("status", [200, 500])
def test_server_that_is_no_webserver_is_unavailable(
    server_url: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Answer, "status", status)
    monkeypatch.setattr(_Answer, "body", b"<html>")

    with pytest.raises(WebserverUnavailable, match="expected"):
        post_query(server_url, "{ version }")


def test_query_the_schema_does_not_know_is_refused(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Answer, "status", 400)
    monkeypatch.setattr(_Answer, "body", b'{"errors": [{"message": "Cannot query field"}]}')

    with pytest.raises(RunRefused, match="Cannot query field"):
        post_query(server_url, "{ nonsense }")


def test_backfill_dagster_does_not_accept_is_refused_with_its_words(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = (
        b'{"data": {"launchPartitionBackfill": {"__typename": "PythonError", "message": "no"}}}'
    )
    monkeypatch.setattr(_Answer, "body", answer)

    with pytest.raises(RunRefused, match="market/x: PythonError: no"):
        launch_backfill(server_url, ["market", "x"], ["2024-01-02"])


def test_backfill_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected at least one"):
        launch_backfill("http://127.0.0.1:9", ["market", "x"], [])
