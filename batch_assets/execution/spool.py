"""Values on their way between processes: small ones inline, large ones through a file.

Each pool has a folder of its own below the spool folder, locked while the pool lives, so that the
next pool can remove what a crash left.
"""

import fcntl
import os
import pickle
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch_assets.execution.framing import INLINE_BYTES

_LOCK_NAME = "lock"
_FOLDER_PREFIX = "pool-"


@dataclass(frozen=True, slots=True)
class Packed:
    """A pickled value: bytes, or the file that holds them."""

    inline: bytes | None
    file: str | None


class _Spill:
    """A file that is only made when more than fits inline is written."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._parts: list[bytes] = []
        self._size = 0
        self._stream: int | None = None

    def write(self, data: bytes) -> None:
        if self._stream is None and self._size + len(data) <= INLINE_BYTES:
            self._parts.append(bytes(data))
            self._size += len(data)
            return
        if self._stream is None:
            self._stream = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._write_all(b"".join(self._parts))
            self._parts = []
        self._write_all(data)

    def finish(self) -> Packed:
        if self._stream is None:
            return Packed(b"".join(self._parts), None)
        os.close(self._stream)
        return Packed(None, str(self._file))

    def abandon(self) -> None:
        if self._stream is not None:
            os.close(self._stream)
            self._file.unlink(missing_ok=True)

    def _write_all(self, data: bytes) -> None:
        assert self._stream is not None  # noqa: S101 - for the type checker
        left = memoryview(data)
        while left:
            left = left[os.write(self._stream, left) :]


def pack(value: object, file: Path) -> Packed:
    """Pickle a value, into the file if it is large.

    Raises:
        Exception: Whatever pickling it raises; no file is left then.
    """
    spill = _Spill(file)
    try:
        pickle.Pickler(spill, protocol=5).dump(value)
        return spill.finish()
    except BaseException:
        spill.abandon()
        raise


def unpack(packed: Packed) -> object:
    """The value; its file stays.

    Raises:
        Exception: Whatever unpickling it raises.
    """
    if packed.file is None:
        return pickle.loads(packed.inline or b"")  # noqa: S301 - from a process of our own
    with Path(packed.file).open("rb") as stream:
        return pickle.load(stream)  # noqa: S301 - from a process of our own


def discard(packed: Packed) -> None:
    """Remove the file of a value that nobody needs any more."""
    if packed.file is not None:
        Path(packed.file).unlink(missing_ok=True)


class SpoolFolder:
    """The folder of one pool, locked until it is removed or the process dies."""

    def __init__(self, spool_dir: Path) -> None:
        spool_dir.mkdir(parents=True, exist_ok=True)
        sweep(spool_dir)
        token = secrets.token_hex(8)
        # Locked before it gets the name that others look for, or they might take it for abandoned.
        nascent = spool_dir / f"new-{token}"
        nascent.mkdir(mode=0o700)
        self._lock = os.open(nascent / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = nascent.rename(spool_dir / f"{_FOLDER_PREFIX}{token}").resolve()

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep(spool_dir: Path) -> list[str]:
    """Remove the folders of pools whose process is gone; returns their names."""
    swept = []
    for folder in spool_dir.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                swept.append(folder.name)
    return swept


def list_pool_folders(spool_dir: Path) -> list[Path]:
    """The folders of pools that are open."""
    found = []
    for folder in spool_dir.glob(f"{_FOLDER_PREFIX}*"):
        with suppress(OSError):
            if not _is_abandoned(folder):
                found.append(folder)
    return found


def _is_abandoned(folder: Path) -> bool:
    lock = os.open(folder / _LOCK_NAME, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
