"""Uploads over real connections, whole and in pieces, and what they leave in the folder."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from batch_assets.execution.isolation import IsolatedWorkers
from batch_assets.ops.scope import Scope
from batch_assets_tests.ingest.documents.inbox import Inbox

if TYPE_CHECKING:
    # The fixtures beside it need this module.
    from batch_assets_tests.ops.api.conftest import Api

URL = "/api/v1/documents"


CONFIGURATION = """
[documents.sources.inbox]
url = "landing"
settle_seconds = 0
"""


Files = list[tuple[str, tuple[str, bytes]]]


class Uploads:
    """The API over one landing folder, and what reads the folder."""

    def __init__(self, api: "Api", workers: IsolatedWorkers, configuration: str) -> None:
        self.api = api
        self.root = api.folder / "landing"
        self.root.mkdir(exist_ok=True)
        self.inbox = Inbox(api.url, self.root, workers, {"settle_seconds": 0})
        self.app = api.build(configuration)
        self.headers = api.headers(Scope.LAUNCH)

    def send(self, client: httpx.Client, files: Files, **fields: str) -> httpx.Response:
        return client.post(URL, files=files, data=fields, headers=self.headers)

    def batch(self, client: httpx.Client, batch_id: str, **query: int) -> dict[str, object]:
        answer = client.get(f"{URL}/batches/{batch_id}", params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def scan(self) -> None:
        self.inbox.scan_now(datetime.now(UTC))

    def ingest(self) -> None:
        for day in self.inbox.scan_now(datetime.now(UTC)).waiting:
            self.inbox.ingest(day)

    def landed(self) -> dict[str, bytes]:
        return {
            str((Path(folder) / name).relative_to(self.root)): (Path(folder) / name).read_bytes()
            for folder, _, names in os.walk(self.root)
            for name in names
        }


def file(name: str, content: bytes | str) -> tuple[str, tuple[str, bytes]]:
    return "file", (name, content.encode() if isinstance(content, str) else content)


def raw_form(name: bytes, content: bytes = b"text") -> tuple[bytes, dict[str, str]]:
    body = (
        b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="'
        + name
        + b'"\r\n\r\n'
        + content
        + b"\r\n--frontier--\r\n"
    )
    return body, {"Content-Type": "multipart/form-data; boundary=frontier"}


def open_upload(uploads: Uploads, client: httpx.Client, length: int) -> socket.socket:
    connection = socket.create_connection((client.base_url.host, client.base_url.port or 80))
    head = f"POST {URL} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n"
    head += "Content-Type: multipart/form-data; boundary=frontier\r\n"
    head += f"Authorization: {uploads.headers['Authorization']}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def staged(uploads: Uploads) -> list[Path]:
    # Unlike glob, walk does not mind a folder that is removed meanwhile.
    walked = os.walk(uploads.root / ".uploads")
    return [Path(folder) / name for folder, _, names in walked for name in names]
