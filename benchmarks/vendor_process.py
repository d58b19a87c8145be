"""The vendors of a benchmark on loopback, in a process of their own: their work is not ours.

`python -m benchmarks.vendor_process FOLDER` serves prepared replies, prints its ports as one line
of JSON, and ends when standard input does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from batch_assets_tests.fakes.baostock_server import BaostockServer
from batch_assets_tests.fakes.http_vendor import Answer, HttpVendorServer, Request
from benchmarks.vendor_replies import TUSHARE_FIELDS

LATENCY_SECONDS = 0.05
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class VendorAddresses:
    """Where the vendors listen; `far` ones wait LATENCY_SECONDS before each answer."""

    http: str
    http_far: str
    baostock_port: int
    baostock_far_port: int


@contextmanager
def open_vendors(folder: Path) -> Iterator[VendorAddresses]:
    """Serve the replies of a folder while the context lasts.

    Raises:
        RuntimeError: The process did not start; what it said is on standard error.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.vendor_process", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("the vendors did not start, expected their ports; see above")
        try:
            yield VendorAddresses(**json.loads(line))
        finally:
            process.stdin.close()


class _HttpReplies:
    """Answers tushare's POST and eastmoney's GET from files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, request: Request) -> Answer:
        path = self._asked_day(request) if request.method == "POST" else self._asked_symbol(request)
        if path is None or not path.is_file():
            return Answer(b"not prepared", 404)
        return Answer(path.read_bytes(), headers={"Content-Type": "application/json"})

    def _asked_day(self, request: Request) -> Path | None:
        asked = json.loads(request.body)
        # Another question would have another answer, and the figures would be those of other work.
        if (asked["api_name"], asked["fields"]) != ("daily", TUSHARE_FIELDS):
            return None
        return self._folder / "tushare" / str(asked["params"]["trade_date"])

    def _asked_symbol(self, request: Request) -> Path:
        return self._folder / "eastmoney" / request.query["secid"]


def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    with ExitStack() as stack:
        http, http_far = (HttpVendorServer(_HttpReplies(folder)) for _ in range(2))
        baostock, baostock_far = BaostockServer(), BaostockServer()
        baostock.read_frame = lambda day: (folder / "baostock" / day).read_bytes()
        baostock_far.read_frame = baostock.read_frame
        http_far.latency_seconds = baostock_far.latency_seconds = LATENCY_SECONDS
        for server in (http, http_far, baostock, baostock_far):
            stack.enter_context(server)
        addresses = VendorAddresses(
            http.base_url, http_far.base_url, baostock.port, baostock_far.port
        )
        print(json.dumps(asdict(addresses)), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
