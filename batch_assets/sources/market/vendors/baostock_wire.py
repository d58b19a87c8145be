"""baostock's own protocol over TCP: frames, checksums, deadlines.

Wire, as client 0.9.4 speaks it, SP being the character 1:

    request   "00.9.40" SP TYPE SP length(10 digits) body SP crc32 LF
    reply     the same header of 21 bytes, body, "<![CDATA[]]>" LF; some bodies are zlib

Fields of a body are separated by SP; the first two of a reply are a code and a message. What is
asked and what codes mean belongs in baostock.py.
"""

import re
import socket
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.market.feed import VendorFeed

SEPARATOR = "\x01"
CLIENT_VERSION = "00.9.40"
TERMINATOR = b"<![CDATA[]]>\n"
HEADER_BYTES = 21
COMPRESSED_TYPES = frozenset({"96", "99", "9B", "9D"})

_HEADER = re.compile(rb"[0-9.]{7}\x01([0-9A-Z]{2})\x01(\d{10})", re.DOTALL)
_CHECKSUM = re.compile(rb"\x01\d{0,10}")
_RECEIVE_BYTES = 256 * 1024
# After a body of known length come at most a checksum and the terminator.
_TAIL_BYTES = 64
# The length of a body that is not compressed may count characters; UTF-8 has up to 4 bytes in one.
_BYTES_IN_CHARACTER = 4


@dataclass(frozen=True, slots=True)
class WireReply:
    """A complete reply.

    Attributes:
        type: Two characters, `99`.
        fields: Text between separators.
    """

    type: str
    fields: tuple[str, ...]


def encode_frame(type_: str, fields: Sequence[str], version: str = CLIENT_VERSION) -> bytes:
    """A request as it goes over the wire."""
    body = SEPARATOR.join(fields)
    head = f"{version}{SEPARATOR}{type_}{SEPARATOR}{len(body):010d}{body}".encode()
    return head + f"{SEPARATOR}{zlib.crc32(head)}\n".encode()


class BaostockConnection:
    """One connection; every wait has an end. Who may open it is decided in baostock.py."""

    def __init__(self, feed: VendorFeed) -> None:
        self._feed = feed
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection; the other side may have closed it."""
        return self._socket is not None

    def open(self, host: str) -> None:
        """Connect.

        Raises:
            SourceUnavailable: Nobody answers.
        """
        try:
            self._socket = socket.create_connection(
                (host, self._feed.port), timeout=self._feed.connect_timeout_seconds
            )
        except OSError as error:
            seen = str(error) or type(error).__name__
            raise self._broken(f"no connection to {host}:{self._feed.port} ({seen})") from error

    def close(self) -> None:
        """Close; the next question opens again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, type_: str, fields: Sequence[str]) -> WireReply:
        """Send a request and read its reply whole.

        Raises:
            SourceUnavailable: No complete reply in time; the connection is closed.
        """
        try:
            return self._exchange(encode_frame(type_, fields))
        except TimeoutError as error:
            seen = f"not a byte for {self._feed.read_timeout_seconds:g} s (read_timeout_seconds)"
            raise self._broken(seen) from error
        except OSError as error:
            raise self._broken(f"the connection broke ({error})") from error
        except SourceUnavailable:
            # Where a reply ends is not known any more.
            self.close()
            raise

    def _exchange(self, request: bytes) -> WireReply:
        if self._socket is None:
            raise self._broken("the connection is closed")
        deadline = time.monotonic() + self._feed.reply_timeout_seconds
        self._socket.settimeout(self._feed.read_timeout_seconds)
        self._socket.sendall(request)
        received = bytearray()
        self._receive(received, HEADER_BYTES, deadline)
        found = _HEADER.fullmatch(received[:HEADER_BYTES])
        if found is None:
            raise self._broken(f"{bytes(received[:40])!r}, which is no baostock frame")
        type_, length = found[1].decode(), int(found[2])
        if length > self._feed.max_reply_bytes:
            raise self._broken(f"a reply of {length} bytes, over max_reply_bytes")
        self._receive(received, HEADER_BYTES + length + len(TERMINATOR), deadline)
        is_compressed = type_ in COMPRESSED_TYPES
        slack = _TAIL_BYTES if is_compressed else _TAIL_BYTES + length * _BYTES_IN_CHARACTER
        while not received.endswith(TERMINATOR):
            if len(received) > HEADER_BYTES + length + slack:
                raise self._broken("a reply without its end mark")
            self._receive(received, len(received) + 1, deadline)
        return self._decode(type_, bytes(received[: -len(TERMINATOR)]), length)

    def _receive(self, received: bytearray, wanted: int, deadline: float) -> None:
        """Read until at least so many bytes are there."""
        assert self._socket is not None  # noqa: S101 - for the type checker; callers have it open
        while len(received) < wanted:
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                raise self._broken(
                    f"only {len(received)} bytes within {self._feed.reply_timeout_seconds:g} s "
                    "(reply_timeout_seconds)"
                )
            self._socket.settimeout(min(self._feed.read_timeout_seconds, left_seconds))
            try:
                piece = self._socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                if deadline - time.monotonic() > 0:
                    raise
                continue  # the deadline is over; told above
            if not piece:
                raise self._broken(f"closed by the server after {len(received)} bytes of a reply")
            received += piece

    def _decode(self, type_: str, frame: bytes, length: int) -> WireReply:
        if type_ in COMPRESSED_TYPES:
            body = self._unpack(frame[HEADER_BYTES : HEADER_BYTES + length])
        else:
            body, rest = frame[HEADER_BYTES:], frame[HEADER_BYTES + length :]
            # The length may count characters; where it counts bytes, the checksum is cut off.
            if _CHECKSUM.fullmatch(rest):
                body = body[:length]
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise self._broken(f"a reply that is not UTF-8 ({error})") from error
        return WireReply(type_, tuple(text.split(SEPARATOR)))

    def _unpack(self, content: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        try:
            body = unpacking.decompress(content, self._feed.max_reply_bytes)
        except zlib.error as error:
            raise self._broken(f"a reply that cannot be unpacked ({error})") from error
        if not unpacking.eof:
            raise self._broken("a packed reply that is cut, or larger than max_reply_bytes")
        return body

    def _broken(self, seen: str) -> SourceUnavailable:
        feed = self._feed
        self.close()
        return SourceUnavailable(
            f"baostock at {feed.host}:{feed.port}: {seen}; expected a complete reply; check the "
            f"network, host and port of feed {feed.name}, then run the partition again"
        )
