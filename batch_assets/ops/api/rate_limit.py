"""How often one token and one address may ask, held before anything else is done.

Kept in the memory of this process, which is the only one that listens on its port: several of
them behind a proxy allow as much each, and see the proxy's address. Health is asked by machines
that must not be refused, and is left out.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

# Whoever was seen longest ago is forgotten first; its bucket had filled up again long before.
_MAX_KNOWN = 10_000
_FREE_PATHS = frozenset({"/healthz", "/readyz"})


class Buckets:
    """Token buckets by name, in bounded memory."""

    def __init__(
        self, requests_per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = requests_per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, name: bytes) -> float:
        """Take one request; returns 0, or the seconds until there is one."""
        now = self._clock()
        left, seen_at = self._buckets.pop(name, (self._burst, now))
        left = min(self._burst, left + (now - seen_at) * self._rate)
        is_free = left >= 1
        self._buckets[name] = (left - 1 if is_free else left, now)
        if len(self._buckets) > _MAX_KNOWN:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1 - left) / self._rate


class RateLimit:
    """Refuse with 429 and Retry-After what comes too often, by token and by address."""

    def __init__(self, app: ASGIApp, *, requests_per_second: float, burst: int) -> None:
        self._app = app
        self._buckets = Buckets(requests_per_second, burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in _FREE_PATHS:
            await self._app(scope, receive, send)
            return
        wait_seconds = max(self._buckets.take(name) for name in _names_of(scope))
        if wait_seconds == 0:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013})
        else:
            await _refuse(send, wait_seconds)


def _names_of(scope: Scope) -> list[bytes]:
    """Who asks: its address, and its token, of which only a hash is kept."""
    client = scope.get("client")
    names = [b"address " + str(client[0] if client else "").encode()]
    for name, value in scope["headers"]:
        if name == b"authorization":
            names.append(b"token " + hashlib.sha256(value).digest())
    return names


async def _refuse(send: Send, wait_seconds: float) -> None:
    seconds = max(1, round(wait_seconds + 0.5))
    text = (
        f'{{"detail": "too many requests, expected fewer; come again in {seconds} s, or raise '
        'requests_per_second in [api]"}'
    ).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        (b"retry-after", str(seconds).encode()),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": text})
