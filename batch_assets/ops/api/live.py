"""Progress while it changes, told to many listeners by one poller.

Listeners that read slowly miss what is in between and get what is newest: nothing is queued for
them. Routes and wire formats are in live_routes.py.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi.concurrency import run_in_threadpool

from batch_assets.errors import BatchAssetsError

logger = logging.getLogger(__name__)

# What is told: a document, and whether it is the last one.
Look = Callable[[list[int]], dict[int, tuple[dict[str, Any], bool]]]


class TooManyListeners(Exception):
    """All places are taken."""


@dataclass(eq=False, slots=True)
class _Listener:
    """One client, and the newest thing it has not been told yet."""

    backfill_id: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    newest: dict[str, Any] | None = None
    is_last: bool = False


class Broadcast:
    """Looks at the backfills that somebody listens to, and at no others.

    Lives in one event loop; the looks themselves run in a thread.

    Args:
        look: Reads backfills; one that is not in its answer is told nothing of.
        every_seconds: Between two looks.
        max_listeners: More are refused.
    """

    def __init__(self, look: Look, *, every_seconds: float, max_listeners: int) -> None:
        self._look = look
        self._every_seconds = every_seconds
        self._max_listeners = max_listeners
        self._listeners: set[_Listener] = set()
        self._poller: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()
        self._is_closed = False

    @property
    def listener_count(self) -> int:
        """Who listens now."""
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        """Whether another listener would be refused."""
        return self._is_closed or self.listener_count >= self._max_listeners

    async def listen(self, backfill_id: int) -> AsyncGenerator[dict[str, Any], None]:
        """Documents of a backfill: the present one, each change, the last one; then it ends.

        Raises:
            TooManyListeners: All places are taken.
        """
        if self.is_full:
            raise TooManyListeners
        listener = _Listener(backfill_id)
        self._listeners.add(listener)
        try:
            self._start()
            while True:
                await listener.changed.wait()
                listener.changed.clear()
                document, is_last = listener.newest, listener.is_last
                if document is not None:
                    yield document
                if is_last:
                    return
        finally:
            self._listeners.discard(listener)

    async def close(self) -> None:
        """End all listening, for the end of the process."""
        self._is_closed = True
        for listener in self._listeners:
            listener.newest, listener.is_last = None, True
            listener.changed.set()
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller

    def _start(self) -> None:
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        # Whoever comes is told the present at once, not with the next look.
        self._joined.set()

    async def _poll(self) -> None:
        """Look and tell until nobody listens any more."""
        while self._listeners:
            self._joined.clear()
            wanted = sorted({listener.backfill_id for listener in self._listeners})
            try:
                self._tell(await run_in_threadpool(self._look, wanted))
            except BatchAssetsError:
                # The database is away: listeners wait, as a person who watches would.
                logger.warning("progress could not be read; trying again", exc_info=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_seconds):
                    await self._joined.wait()

    def _tell(self, found: dict[int, tuple[dict[str, Any], bool]]) -> None:
        for listener in self._listeners:
            if listener.backfill_id not in found:
                continue
            document, is_last = found[listener.backfill_id]
            if document != listener.newest or is_last:
                listener.newest, listener.is_last = document, is_last
                listener.changed.set()
