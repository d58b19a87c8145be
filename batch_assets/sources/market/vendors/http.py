"""HTTP with a deadline for the whole exchange, and every failure told apart.

Asking again belongs in asking.py, the meaning of a body in the vendor's file.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from batch_assets.errors import (
    BatchAssetsError,
    SourceRateLimited,
    SourceRefused,
    SourceUnavailable,
)
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.vendor import VendorAccess
from batch_assets.sources.retry_after import retry_after_seconds

if TYPE_CHECKING:
    import ssl

    import httpx

# What a 429 without Retry-After means: the windows vendors publish are minutes.
_DEFAULT_WAIT_SECONDS = 60.0
_USER_AGENT = "batch-assets (+https://pypi.org/project/batch-assets/)"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete answer with a status the caller said it understands."""

    status: int
    body: bytes


class HttpCaller:
    """Speaks HTTP with one vendor; keeps its connections between questions.

    The event loop is private: only cancelling a task ends a server that sends one byte a second,
    since the time-outs of a socket start anew with each of them.
    """

    def __init__(self, feed: VendorFeed, access: VendorAccess) -> None:
        self._feed = feed
        self._access = access
        self._runner: asyncio.Runner | None = None
        self._client: httpx.AsyncClient | None = None
        # httpx logs whole addresses, and some vendors want the token in the query.
        logging.getLogger("httpx").addFilter(_without_query)

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        understood: frozenset[int] = frozenset(),
    ) -> HttpReply:
        """Ask with GET.

        Args:
            path: Begins with `/`.
            params: The query.
            headers: More headers.
            understood: Statuses besides 2xx that the caller reads itself.

        Raises:
            SourceUnavailable: No complete answer in time, or a status of 408 or 5xx.
            SourceRateLimited: 429, or 503 with Retry-After.
            SourceRefused: Any other status.
        """
        return self._ask("GET", path, understood, params=dict(params), headers=dict(headers or {}))

    def post_json(self, path: str, body: Mapping[str, Any]) -> HttpReply:
        """Ask with POST and a JSON body; raises as `get`."""
        return self._ask("POST", path, frozenset(), json=dict(body))

    def close(self) -> None:
        """Close connections; the next question opens new ones."""
        runner, client = self._runner, self._client
        self._runner = self._client = None
        if runner is not None:
            if client is not None:
                runner.run(client.aclose())
            runner.close()

    def _ask(self, method: str, path: str, understood: frozenset[int], **request: Any) -> HttpReply:
        import httpx

        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            response, body = self._runner.run(self._exchange(method, path, request))
        except TimeoutError as error:
            raise self._unavailable(
                path,
                f"no complete answer within {self._feed.reply_timeout_seconds:g} s "
                "(reply_timeout_seconds)",
            ) from error
        except httpx.HTTPError as error:
            raise self._unavailable(path, _in_words(error, self._feed)) from error
        if response.is_success or response.status_code in understood:
            return HttpReply(response.status_code, body)
        raise self._refusal(path, response, body)

    async def _exchange(
        self, method: str, path: str, request: dict[str, Any]
    ) -> "tuple[httpx.Response, bytes]":
        feed = self._feed
        if self._client is None:
            self._client = _new_client(feed)
        body = bytearray()
        async with (
            asyncio.timeout(feed.reply_timeout_seconds),
            self._client.stream(method, f"{feed.base_url}{path}", **request) as response,
        ):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > feed.max_reply_bytes:
                    raise self._unavailable(
                        path, f"more than {feed.max_reply_bytes} bytes (max_reply_bytes)"
                    )
        # What a vendor repeats of a question ends in messages, and those in logs and tables.
        return response, self._access.without_token(feed, bytes(body))

    def _unavailable(self, path: str, seen: str) -> SourceUnavailable:
        feed = self._feed
        return SourceUnavailable(
            f"{feed.vendor} at {feed.base_url}{path}: {seen}; expected an answer; check the "
            f"network and base_url of feed {feed.name}, then run the partition again"
        )

    def _refusal(self, path: str, response: "httpx.Response", body: bytes) -> BatchAssetsError:
        import httpx

        feed, status = self._feed, response.status_code
        said = " ".join(body[:400].decode("utf-8", "replace").split())[:160]
        seen = f"HTTP status {status} {response.reason_phrase}".strip()
        seen += f", saying {said!r}" if said else ""
        wait_seconds = retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC))
        if status == httpx.codes.TOO_MANY_REQUESTS or (status == 503 and wait_seconds is not None):
            wait_seconds = _DEFAULT_WAIT_SECONDS if wait_seconds is None else wait_seconds
            return SourceRateLimited(
                f"{feed.vendor} at {feed.base_url}{path}: {seen}; run the partition again after "
                f"{wait_seconds:g} s",
                retry_after_seconds=wait_seconds,
            )
        if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
            return self._unavailable(path, seen)
        return SourceRefused(
            f"{feed.vendor} at {feed.base_url}{path}: {seen}; expected 200; {_remedy(feed, status)}"
        )


def _new_client(feed: VendorFeed) -> "httpx.AsyncClient":
    import httpx

    return httpx.AsyncClient(
        verify=_tls(),
        timeout=httpx.Timeout(feed.read_timeout_seconds, connect=feed.connect_timeout_seconds),
        limits=httpx.Limits(max_connections=feed.max_connections),
        headers={"User-Agent": _USER_AGENT},
        # A redirect would carry the token to another place.
        follow_redirects=False,
    )


@lru_cache(maxsize=1)
def _tls() -> "ssl.SSLContext":
    import httpx

    # Reading the certificates of all authorities takes 25 ms, and each run opens several clients.
    return httpx.create_ssl_context()


def _remedy(feed: VendorFeed, status: int) -> str:
    if status in (401, 402, 403, 407):
        variable = f" in {feed.token_env}" if feed.token_env else ""
        return f"check the token{variable}, and that it may ask for this; nothing more was asked"
    if status in (301, 302, 303, 307, 308, 404, 405, 410):
        return f"check base_url and exchange of feed {feed.name}"
    return "the vendor may have changed its interface: compare with its documentation"


def _in_words(error: "httpx.HTTPError", feed: VendorFeed) -> str:
    import httpx

    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {feed.connect_timeout_seconds:g} s (connect_timeout_seconds)"
    if isinstance(error, httpx.TimeoutException):
        return f"not a byte for {feed.read_timeout_seconds:g} s (read_timeout_seconds)"
    if isinstance(error, httpx.ConnectError):
        cause = _root(error)
        if isinstance(cause, socket.gaierror):
            return f"the host's name cannot be resolved ({cause.strerror})"
        return f"no connection ({error})"
    return f"the connection broke ({type(error).__name__}: {error})"


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _without_query(record: logging.LogRecord) -> bool:
    import httpx

    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.copy_with(query=None) if isinstance(arg, httpx.URL) else arg for arg in record.args
        )
    return True
