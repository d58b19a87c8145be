"""Bytes of a file: opened once, hashed while read, decompressed under a limit.

What the bytes mean belongs in csv_blocks.py and workbooks.py.
"""

import bz2
import fnmatch
import gzip
import hashlib
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from batch_assets.errors import SourceChanged, SourceUnavailable, UnreadableSource
from batch_assets.sources.market.feed import FileFeed, FileFormat

READ_BYTES = 4 * 1024 * 1024
# Text packs 5 to 20 times; a file of zeros packs 1,000 times.
MAX_EXPANSION_RATIO = 200
# Below this a high ratio harms nobody.
_HARMLESS_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What a file was when it was looked at.

    Attributes:
        name: Path relative to the feed's folder, with `/`.
        size_bytes: Size.
        modified_ns: Modification time.
        sha256: Hash of the bytes, hex.
    """

    name: str
    size_bytes: int
    modified_ns: int
    sha256: str


def inside_folder(path: Path, folder: Path) -> str:
    """Name of a file relative to the feed's folder.

    Raises:
        UnreadableSource: The path leads out of the folder.
    """
    name = path.relative_to(folder).as_posix()
    if path.parent == folder and not path.is_symlink():
        # The usual case for the price of one look at the file; resolving takes one a folder.
        return name
    resolved, root = path.resolve(), folder.resolve()
    if not resolved.is_relative_to(root):
        raise UnreadableSource(
            f"{name}: leads to {resolved}, outside the feed's folder {root}; "
            "copy the file into the folder, or let the feed read that folder"
        )
    return name


def identify(path: Path, folder: Path) -> FileIdentity:
    """Hash a file.

    Raises:
        SourceChanged: It was written to meanwhile.
        SourceUnavailable: It cannot be opened now.
    """
    name = inside_folder(path, folder)
    digest = hashlib.sha256()
    with _opened(path, name) as stream:
        before = os.fstat(stream.fileno())
        while piece := stream.read(_piece_bytes(before.st_size)):
            digest.update(piece)
        after = os.fstat(stream.fileno())
    if _stamp(before) != _stamp(after):
        raise SourceChanged(f"{name}: changed while it was read; try again when it is complete")
    return FileIdentity(name, after.st_size, after.st_mtime_ns, digest.hexdigest())


def iter_checked(path: Path, expected: FileIdentity) -> Generator[bytes, None, None]:
    """The file in pieces; fails at the end, before anything is committed, if it has changed."""
    digest = hashlib.sha256()
    with _opened(path, expected.name) as stream:
        while piece := stream.read(_piece_bytes(expected.size_bytes)):
            digest.update(piece)
            yield piece
    _refuse_change(digest.hexdigest(), expected)


def iter_unpacked(
    pieces: Iterator[bytes], packed: FileFormat, expected: FileIdentity, feed: FileFeed
) -> Iterator[bytes]:
    """Decompressed bytes of a packed text file.

    Args:
        pieces: The file as it is; `iter_checked` sees to it that it is all of it.
        packed: CSV_GZ, CSV_BZ2, CSV_XZ or CSV_ZST.

    Raises:
        UnreadableSource: It is cut off or damaged, or unpacks to more than the feed allows.
    """
    guard = _Guard(expected, feed)
    source = cast("IO[bytes]", io.BufferedReader(_Pieces(pieces), READ_BYTES))
    try:
        with _UNPACKERS[packed](source) as unpacked:
            yield from _guarded(unpacked, guard)
    # Each library has errors of its own; those of the disk have become a SourceUnavailable before.
    except (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise UnreadableSource(
            f"{expected.name}: not a complete {_NAMES[packed]} file ({error}); "
            "fetch it again, it may have been cut off while it was copied"
        ) from error


def _unpack_zst(source: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd"))


_UNPACKERS: Mapping[FileFormat, Callable[[IO[bytes]], IO[bytes]]] = {
    FileFormat.CSV_GZ: lambda source: cast("IO[bytes]", gzip.GzipFile(fileobj=source)),
    FileFormat.CSV_BZ2: bz2.BZ2File,
    FileFormat.CSV_XZ: lzma.LZMAFile,
    FileFormat.CSV_ZST: _unpack_zst,
}
_NAMES = {
    FileFormat.CSV_GZ: "gzip",
    FileFormat.CSV_BZ2: "bzip2",
    FileFormat.CSV_XZ: "xz",
    FileFormat.CSV_ZST: "Zstandard",
}


def iter_members(
    path: Path, expected: FileIdentity, feed: FileFeed
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Members of a zip that the feed reads, in name order, each with its decompressed bytes.

    The bytes of one member must be taken before the next is asked for.
    """
    guard = _Guard(expected, feed)
    try:
        with open_checked(path, expected) as stream, zipfile.ZipFile(stream) as archive:
            for member in _chosen_members(archive, expected, feed):
                with archive.open(member) as content:
                    yield member, _guarded(content, guard)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UnreadableSource(
            f"{expected.name}: cannot be unpacked ({error}); fetch it again, it may have been cut "
            "off while it was copied, or unpack it by hand if it has a password"
        ) from error


def _chosen_members(archive: zipfile.ZipFile, expected: FileIdentity, feed: FileFeed) -> list[str]:
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    chosen = [name for name in names if fnmatch.fnmatch(name, feed.zip_member)]
    if not chosen:
        raise UnreadableSource(
            f"{expected.name}: holds {', '.join(names[:5]) or 'nothing'}, no member matches "
            f"{feed.zip_member!r}; correct zip_member of feed {feed.name}"
        )
    return chosen


def _guarded(stream: IO[bytes], guard: "_Guard") -> Iterator[bytes]:
    while piece := stream.read(READ_BYTES):
        guard.count(len(piece))
        yield piece


@contextmanager
def open_checked(path: Path, expected: FileIdentity) -> Iterator[io.BufferedReader]:
    """A file for readers that jump about in it: hashed first, looked at again at the end."""
    with _opened(path, expected.name) as stream:
        before = os.fstat(stream.fileno())
        digest = hashlib.sha256()
        while piece := stream.read(READ_BYTES):
            digest.update(piece)
        _refuse_change(digest.hexdigest(), expected)
        stream.seek(0)
        yield stream
        if _stamp(before) != _stamp(os.fstat(stream.fileno())):
            raise SourceChanged(
                f"{expected.name}: changed while it was read; nothing was loaded, try again"
            )


@contextmanager
def _opened(path: Path, name: str) -> Iterator[io.BufferedReader]:
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise SourceChanged(f"{name}: was listed and is gone; try again") from error
    except OSError as error:
        raise SourceUnavailable(
            f"{name}: cannot be opened ({error.strerror}); check its rights and its disk"
        ) from error
    with stream:
        try:
            yield stream
        except OSError as error:
            raise SourceUnavailable(
                f"{name}: cannot be read ({error.strerror}); check its disk"
            ) from error


def _piece_bytes(size_bytes: int) -> int:
    # One byte more than the file: a small file comes in one piece, without a large buffer.
    return min(READ_BYTES, size_bytes + 1)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _refuse_change(sha256: str, expected: FileIdentity) -> None:
    if sha256 != expected.sha256:
        raise SourceChanged(
            f"{expected.name}: its content changed after it was recognised "
            f"(sha256 {sha256[:12]}, expected {expected.sha256[:12]}); nothing was loaded, "
            "try again"
        )


class _Pieces(io.RawIOBase):
    """A readable file over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]  # as io documents it
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = piece
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


class _Guard:
    """Stops a small file that unpacks into a very large one."""

    def __init__(self, packed: FileIdentity, feed: FileFeed) -> None:
        self._packed = packed
        self._limit_bytes = feed.max_expanded_bytes
        self._seen_bytes = 0

    def count(self, size_bytes: int) -> None:
        self._seen_bytes += size_bytes
        ratio = self._seen_bytes / max(self._packed.size_bytes, 1)
        is_bomb = ratio > MAX_EXPANSION_RATIO and self._seen_bytes > _HARMLESS_BYTES
        if is_bomb or self._seen_bytes > self._limit_bytes:
            raise UnreadableSource(
                f"{self._packed.name}: {self._packed.size_bytes} bytes unpack to more than "
                f"{self._seen_bytes}, expected at most {self._limit_bytes} and "
                f"{MAX_EXPANSION_RATIO} times the size; unpack it by hand if it is genuine, or "
                "raise max_expanded_bytes"
            )
