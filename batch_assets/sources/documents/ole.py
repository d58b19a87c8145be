"""Streams of an OLE compound file: .doc, .xls, .ppt, .msg, Office files with a password.

Only as much of [MS-CFB] as telling kinds apart needs: the directory, and streams that have
sectors of their own. What the streams mean is decided in formats.py and biff.py.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END_OF_CHAIN = 0xFFFFFFFC
_ENTRY_BYTES = 128
_HEADER_FAT_SECTORS = 109
# Streams below this size live in the mini stream ([MS-CFB] 2.2).
_MINI_STREAM_CUTOFF = 4096


@dataclass(frozen=True, slots=True)
class OleStream:
    """An entry of the directory: name, first sector, size in bytes."""

    name: str
    start: int
    size: int


class OleDirectory:
    """The directory of a compound file held in memory; a damaged one has fewer entries."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        shift = struct.unpack_from("<H", data, 30)[0] if len(data) >= 512 else 9
        self._sector_bytes = 1 << (shift if shift in (9, 12) else 9)
        self._fat = self._read_fat() if len(data) >= 512 else []
        self.streams = tuple(self._read_entries()) if len(data) >= 512 else ()
        self.names = frozenset(stream.name for stream in self.streams)

    def read(self, name: str) -> bytes:
        """A stream, if it is large enough to have sectors of its own; as far as it is intact."""
        for stream in self.streams:
            if stream.name == name and stream.size >= _MINI_STREAM_CUTOFF:
                sectors = [self._sector(sector) for sector in self._chain(stream.start)]
                return b"".join(sectors)[: stream.size]
        return b""

    def _sector(self, number: int) -> bytes:
        start = (number + 1) * self._sector_bytes
        return self._data[start : start + self._sector_bytes]

    def _read_fat(self) -> list[int]:
        fat: list[int] = []
        for number in struct.unpack_from(f"<{_HEADER_FAT_SECTORS}I", self._data, 76):
            if number >= _END_OF_CHAIN:
                break
            sector = self._sector(number)
            fat.extend(struct.unpack(f"<{len(sector) // 4}I", sector[: len(sector) // 4 * 4]))
        return fat

    def _chain(self, sector: int) -> Iterator[int]:
        # As many steps as there are sectors: a damaged chain may run in a circle.
        for _ in range(len(self._fat) + 1):
            if sector >= _END_OF_CHAIN:
                return
            yield sector
            if sector >= len(self._fat):
                return
            sector = self._fat[sector]

    def _read_entries(self) -> Iterator[OleStream]:
        for sector in self._chain(struct.unpack_from("<I", self._data, 48)[0]):
            content = self._sector(sector)
            for offset in range(0, len(content) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
                name_bytes = struct.unpack_from("<H", content, offset + 64)[0]
                if not 2 <= name_bytes <= 64:
                    continue
                raw_name = content[offset : offset + name_bytes - 2]
                start, size = struct.unpack_from("<II", content, offset + 116)
                yield OleStream(raw_name.decode("utf-16-le", "replace"), start, size)
