"""Bounds of one request, held before anything is parsed."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)


class BodyLimit:
    """Refuse bodies above a size with 413, by their header or while they arrive.

    What was received up to then is not kept: the limit holds for bodies without a length too.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared_bytes(scope) > self._max_bytes:
            await self._refuse(send)
            return
        received = 0
        is_started = False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal is_started
            # A framework that met the exception answers for itself; ours says which limit it was.
            if received > self._max_bytes and not is_started:
                return
            is_started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            logger.info("a body of more than %d bytes was refused", self._max_bytes)
        if received > self._max_bytes and not is_started:
            await self._refuse(send)

    async def _refuse(self, send: Send) -> None:
        text = (
            f'{{"detail": "the body is larger than {self._max_bytes} bytes; send less at a time, '
            'or raise max_body_bytes in [api]"}'
        ).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(text)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": text})


class _TooLarge(Exception):
    """The body grew above the limit while it arrived."""


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
