"""Live progress by server-sent events and by WebSocket; both tell the same documents."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from fastapi import APIRouter, HTTPException, Request, WebSocket
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from batch_assets.errors import BatchAssetsError, UnknownBackfill
from batch_assets.ops.access import find_token
from batch_assets.ops.api.authentication import Reader
from batch_assets.ops.api.backfills import BackfillId
from batch_assets.ops.api.context import ApiContext, Context
from batch_assets.ops.api.failures import PROBLEMS, Problem
from batch_assets.ops.api.live import Broadcast, TooManyListeners
from batch_assets.ops.backfills.documents import event_document, progress_document
from batch_assets.ops.backfills.read import read_backfill, read_progress
from batch_assets.ops.display import zone_of
from batch_assets.ops.scope import Scope as TokenScope

router = APIRouter(prefix="/api/v1/backfills", tags=["live"])

# Proxies close what is silent for a minute.
_KEEP_ALIVE_SECONDS = 15.0
# A client that takes nothing for so long is gone, whatever its connection says.
_SEND_SECONDS = 30.0
# Browsers cannot set headers on a WebSocket; they can name a subprotocol.
_SUBPROTOCOL = "bearer."

# Codes of RFC 6455 and of the range for applications, like the statuses they stand for.
_UNAUTHORIZED, _NOT_FOUND, _TRY_LATER = 4401, 4404, 1013


def look_at(context: ApiContext, backfill_ids: list[int]) -> dict[int, tuple[dict[str, Any], bool]]:
    """The progress of these backfills, and whether it is the last; unknown ones are left out."""
    found = {}
    with context.transaction() as conn:
        for backfill_id in backfill_ids:
            try:
                progress = read_progress(conn, backfill_id, context.now(), context.estimates)
            except UnknownBackfill:
                continue
            is_last = progress.backfill.state.is_final
            zone = zone_of(context.settings, progress.backfill.feed)
            document = event_document(
                "ended" if is_last else "progress", **progress_document(progress, zone)
            )
            found[backfill_id] = (document, is_last)
    return found


class EventStream(Response):
    """Server-sent events; ends with its source, with the client, or when nothing is taken."""

    media_type = "text/event-stream"

    def __init__(self, documents: AsyncGenerator[dict[str, Any], None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._documents = documents

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        telling = asyncio.ensure_future(self._tell(send))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell(self, send: Send) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # The last place may have been taken since the request was looked at.
        with suppress(TooManyListeners):
            async with aclosing(_with_pauses(self._documents)) as documents:
                async for document in documents:
                    await self._send(send, _event(document))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @staticmethod
    async def _send(send: Send, body: bytes) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _with_pauses(
    documents: AsyncGenerator[dict[str, Any], None],
) -> AsyncGenerator[dict[str, Any] | None, None]:
    """The documents, and None wherever nothing was told for a while."""
    pending = asyncio.ensure_future(anext(documents))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=_KEEP_ALIVE_SECONDS)
            if not done:
                yield None
                continue
            try:
                document = pending.result()
            except StopAsyncIteration:
                return
            pending = asyncio.ensure_future(anext(documents))
            yield document
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await documents.aclose()


def _event(document: dict[str, Any] | None) -> bytes:
    if document is None:
        return b": alive\n\n"
    text = json.dumps(document, ensure_ascii=False)
    return f"event: {document['event']}\ndata: {text}\n\n".encode()


@router.get(
    "/{backfill_id}/events",
    summary="Live progress as server-sent events",
    response_class=Response,
    responses={
        **PROBLEMS,
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        404: {"model": Problem, "description": "There is no such backfill."},
        503: {"model": Problem, "description": "Too many listen, or no database."},
    },
)
async def events(
    backfill_id: BackfillId, _: Reader, context: Context, request: Request
) -> Response:
    """`progress` at once and with each change, `ended` at the end; then the stream ends."""
    await run_in_threadpool(_check_known, context, backfill_id)
    broadcast: Broadcast = request.app.state.broadcast
    if broadcast.is_full:
        raise HTTPException(
            503,
            f"{broadcast.listener_count} clients listen, expected fewer; ask for the progress now "
            "and then, or raise max_listeners in [api]",
            headers={"Retry-After": "5"},
        )
    return EventStream(broadcast.listen(backfill_id))


def _check_known(context: ApiContext, backfill_id: int) -> None:
    with context.transaction() as conn:
        read_backfill(conn, backfill_id)


@router.websocket("/{backfill_id}/ws")
async def websocket(socket: WebSocket, backfill_id: int) -> None:
    """The same documents as JSON texts; the token as header, or as subprotocol `bearer.<token>`."""
    context: ApiContext = socket.app.state.context
    protocol = next(
        (one for one in socket.scope["subprotocols"] if one.startswith(_SUBPROTOCOL)), None
    )
    sent = _sent_token(socket, protocol)
    try:
        code = await run_in_threadpool(_refusal, context, sent, backfill_id)
    except BatchAssetsError:
        code = _TRY_LATER
    await socket.accept(subprotocol=protocol)
    if code is not None:
        await socket.close(code)
        return
    telling = asyncio.ensure_future(_tell_socket(socket, backfill_id))
    leaving = asyncio.ensure_future(_until_closed(socket))
    try:
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (telling, leaving):
            task.cancel()
        await asyncio.gather(telling, leaving, return_exceptions=True)


def _sent_token(socket: WebSocket, protocol: str | None) -> str:
    if protocol is not None:
        return protocol.removeprefix(_SUBPROTOCOL)
    kind, _, token = socket.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""


def _refusal(context: ApiContext, sent: str, backfill_id: int) -> int | None:
    with context.transaction() as conn:
        token = find_token(conn, sent)
        if token is None or not token.scope.includes(TokenScope.READ):
            return _UNAUTHORIZED
        try:
            if not 0 < backfill_id < 2**63:
                return _NOT_FOUND
            read_backfill(conn, backfill_id)
        except UnknownBackfill:
            return _NOT_FOUND
    return None


async def _tell_socket(socket: WebSocket, backfill_id: int) -> None:
    broadcast: Broadcast = socket.app.state.broadcast
    try:
        async with aclosing(broadcast.listen(backfill_id)) as documents:
            async for document in documents:
                async with asyncio.timeout(_SEND_SECONDS):
                    await socket.send_text(json.dumps(document, ensure_ascii=False))
        await socket.close()
    except TooManyListeners:
        await socket.close(_TRY_LATER)


async def _until_closed(socket: WebSocket) -> None:
    """What clients say is not listened to; that they leave is."""
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, KeyError):
        return
