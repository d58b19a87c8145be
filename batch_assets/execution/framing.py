"""Messages between the processes of a pool: length, then marshalled tuple.

Marshal knows numbers, texts, bytes and containers of them. What users send and return travels as
bytes inside, so that the host reads a message without importing anything of theirs.
"""

import marshal
import socket
import struct
from collections.abc import Iterator
from typing import Any, cast

Message = tuple[Any, ...]

_LENGTH = struct.Struct("!I")

# Larger values go through a file of the pool's folder: two of these fit into the buffer of a
# socket (208 KiB by default on Linux), so a send to an idle worker never waits.
INLINE_BYTES = 64 * 1024


def encode_message(*parts: Any) -> bytes:
    """The bytes of one message."""
    body = marshal.dumps(parts)
    return _LENGTH.pack(len(body)) + body


def receive_message(link: socket.socket) -> Message | None:
    """Wait for one message and take not a byte of the next; None if the other side is gone."""
    length = link.recv(_LENGTH.size, socket.MSG_WAITALL)
    if len(length) < _LENGTH.size:
        return None
    expected = _LENGTH.unpack(length)[0]
    body = link.recv(expected, socket.MSG_WAITALL)
    if len(body) < expected:
        return None
    return cast("Message", marshal.loads(body))  # noqa: S302 - from a process of our own


class MessageReader:
    """Puts messages together from whatever a socket delivers."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, received: bytes) -> Iterator[Message]:
        """Add bytes.

        Yields:
            Each message that is complete now.

        Raises:
            ValueError, EOFError or TypeError: The bytes are no messages.
        """
        self._received += received
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            body = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            yield cast("Message", marshal.loads(body))  # noqa: S302 - from processes of our own
