"""File locks of the embedded server, freed by the kernel however their holder ends.

A lock is an `flock` on an open file: `kill -9` frees it, a reused process number cannot fake it,
and it works across containers that share a folder. A forked child shares its parent's lock, so
it counts as alive for as long as it runs; a program started with exec does not.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batch_assets.errors import EmbeddedServerError

_POLL_SECONDS = 0.02


def try_lock(path: Path) -> int | None:
    """Lock a file, creating it if needed, without waiting.

    Returns:
        A descriptor that holds the lock until it is closed, or None if somebody else has it.
    """
    import fcntl  # not on Windows, where this module must still import

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file may have been removed between open and flock: such a lock protects nothing.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        return None
    os.close(descriptor)
    return None


def unlock(descriptor: int) -> None:
    """Free a lock and close its descriptor.

    Closing alone is not enough: a child that another thread forked meanwhile has a copy.
    """
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """Hold a lock for the duration of the block.

    Raises:
        EmbeddedServerError: Somebody else held it for all of `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"{path} has been locked for {wait_seconds:.0f} s, expected another process to "
                "start or stop the embedded PostgreSQL within that time; look for a suspended "
                "process of batch_assets and end it"
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        unlock(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock now; False if the file does not exist."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return True
    unlock(descriptor)
    return False
