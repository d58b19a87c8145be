"""Clients that are slow on purpose or by accident: how long and how many of them are borne.

uvicorn waits for ever for the rest of a head, of a body, and for a client to take an answer. The
protocol here looks at each connection now and then and lets go whoever exceeds its time; what an
application may do with a request is bounded in limits.py and rate_limit.py.

Time is the client's alone: it does not run while the application does not read, or thinks.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger(__name__)

# A bound is exceeded by a quarter at most, and a connection looked at four times a second at most.
_LOOKS_PER_BOUND = 4
_MIN_LOOK_SECONDS = 0.05
_MAX_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """What a client may take.

    Attributes:
        header_seconds: From the connection, or the end of the answer before, to the end of a head.
        body_seconds: For a body, to which every byte that arrives adds time.
        bytes_per_second: Least rate of a body in the long run.
        answer_seconds: To take what waits for the client, 64 KiB at most at a time.
        max_connections: At once; the next is refused with 503.
    """

    header_seconds: float = 10.0
    body_seconds: float = 30.0
    bytes_per_second: int = 1_000
    answer_seconds: float = 30.0
    max_connections: int = 500

    @property
    def look_seconds(self) -> float:
        """Between two looks at a connection."""
        shortest = min(self.header_seconds, self.body_seconds, self.answer_seconds)
        return min(max(shortest / _LOOKS_PER_BOUND, _MIN_LOOK_SECONDS), _MAX_LOOK_SECONDS)


def bounded_protocol(patience: Patience) -> type[H11Protocol]:
    """Uvicorn's HTTP protocol with that patience, for its setting `http`.

    h11 and not httptools: it refuses a head of more than 64 KiB, where the other keeps all of it.
    """
    return type("BoundedProtocol", (_BoundedProtocol,), {"patience": patience})


class _BoundedProtocol(H11Protocol):
    """One connection."""

    patience: ClassVar[Patience]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are too many."""
        is_refused = len(self.connections) >= self.patience.max_connections
        super().connection_made(transport)
        self._is_upgraded = False
        self._phase: tuple[object, object] = (None, None)
        self._phase_seconds = 0.0
        self._arrived_bytes = 0
        self._unread_seconds = 0.0
        self._looked_at = self.loop.time()
        if is_refused:
            self.connections.discard(self)
            self._say(
                "503 Service Unavailable",
                f"{self.patience.max_connections} connections are open, expected fewer; come "
                "again, or raise max_client_connections in [api]",
                "retry-after: 5\r\n",
            )
            return
        self._look_later()

    def data_received(self, data: bytes) -> None:
        """Count what arrives; a head or a body that ends begins a new time."""
        self._arrived_bytes += len(data)
        super().data_received(data)
        self._notice_phase()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand over; from here on pings find out who does not answer."""
        self._is_upgraded = True
        super().handle_websocket_upgrade(event)

    def resume_writing(self) -> None:
        """The client has taken most of what waited."""
        self._unread_seconds = 0.0
        super().resume_writing()

    def _look_later(self) -> None:
        self.loop.call_later(self.patience.look_seconds, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        passed = now - self._looked_at
        self._looked_at = now
        waiting_bytes = self.transport.get_write_buffer_size()
        if self.transport.is_closing() and not waiting_bytes:
            return
        self._unread_seconds = self._unread_seconds + passed if waiting_bytes else 0.0
        if self._unread_seconds > self.patience.answer_seconds:
            logger.info("a client that does not read was let go")
            self.transport.abort()
            return
        if not (self._is_upgraded or self.transport.is_closing()):
            self._notice_phase()
            if self._is_sending():
                self._phase_seconds += passed
            self._bound_sending()
        self._look_later()

    def _notice_phase(self) -> None:
        phase = (self.conn.their_state, self.cycle)
        if phase != self._phase:
            self._phase = phase
            self._phase_seconds = 0.0
            self._arrived_bytes = 0

    def _is_sending(self) -> bool:
        """Whether it is the client's turn: not if nobody takes what it sends."""
        is_asked = not (self.cycle and self.cycle.waiting_for_100_continue)
        return not self.flow.read_paused and is_asked

    def _bound_sending(self) -> None:
        state, _ = self._phase
        if state is h11.IDLE and self._phase_seconds > self.patience.header_seconds:
            self._refuse(f"the head of a request, expected within {self.patience.header_seconds:g}")
        if state is h11.SEND_BODY:
            extra_seconds = self._arrived_bytes / self.patience.bytes_per_second
            if self._phase_seconds > self.patience.body_seconds + extra_seconds:
                self._refuse(
                    f"a body, expected at {self.patience.bytes_per_second} bytes a second after "
                    f"{self.patience.body_seconds:g}"
                )

    def _refuse(self, what: str) -> None:
        logger.info("a client that sends slowly was let go")
        if self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
            return
        self._say("408 Request Timeout", f"still waiting for {what} s; send faster", "")

    def _say(self, status: str, text: str, header: str) -> None:
        """Answer past the application, which may be waiting for the rest, and close."""
        body = f'{{"detail": "{text}"}}'
        self.transport.write(
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{header}connection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        self.transport.close()
