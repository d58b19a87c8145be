"""One file of a landing folder: its hash, and a path where a parser can open it.

A file of this machine is parsed where it lies, one of a store is copied first. A link is never
followed, whatever the path has become since it was listed.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile

import stamina

from batch_assets.errors import BatchAssetsError
from batch_assets.sources.documents.landing_folder import LocalFolder, RemoteFolder

_COPY_BYTES = 1024 * 1024


class FileVanished(BatchAssetsError):
    """A file that was listed is no longer there; the next scan knows more."""

    retryable = True


class FileUnreadable(BatchAssetsError):
    """A file is there and cannot be read: no permission, or its disk or store fails."""

    retryable = True


class FileOutside(BatchAssetsError):
    """A path that was a file has become a link or something else that is not read."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that can be opened on this machine.

    Attributes:
        path: Where.
        sha256: Of its bytes, hexadecimal.
        size_bytes: Their number.
        is_copy: Whether whoever asked for it deletes it.
    """

    path: Path
    sha256: str
    size_bytes: int
    is_copy: bool = False

    def discard(self) -> None:
        """Delete a copy."""
        if self.is_copy:
            self.path.unlink(missing_ok=True)


def fetch_file(
    folder: LocalFolder | RemoteFolder,
    path: str,
    spool_dir: Path,
    *,
    retries: int = 3,
    first_wait_seconds: float = 1.0,
) -> LocalFile:
    """Hash a file, and copy it if it is not on this machine.

    Args:
        path: Relative to the folder.
        spool_dir: For copies.
        retries: After a failure of disk, network or store; the wait doubles, with jitter.

    Raises:
        FileVanished: It is gone.
        FileUnreadable: It cannot be read, retries included.
        FileOutside: It is a link, a device or not in the folder any more.
    """
    try:
        for attempt in stamina.retry_context(
            on=_may_pass,
            attempts=retries + 1,
            timeout=None,
            wait_initial=first_wait_seconds,
            wait_jitter=first_wait_seconds,
        ):
            with attempt:
                if isinstance(folder, LocalFolder):
                    return _hash_in_place(folder.root, path)
                return _copy(folder, path, spool_dir)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileVanished(
            f"{path} was listed and is gone; expected it to stay until it is read; nothing to do "
            "if it was moved or deleted, otherwise drop it again"
        ) from error
    except OSError as error:
        raise FileUnreadable(
            f"{path} cannot be read: {error.strerror or error}; expected a readable file; correct "
            "its permissions or the store, then retry the failed documents"
        ) from error
    raise AssertionError("stamina ends with the value or raises")  # pragma: no cover


def _may_pass(error: Exception) -> bool:
    lasting = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    return isinstance(error, OSError) and not isinstance(error, lasting)


def _hash_in_place(root: Path, path: str) -> LocalFile:
    real_root = os.path.realpath(root)
    whole = os.path.join(real_root, *PurePosixPath(path).parts)  # noqa: PTH118 - realpath's text
    if os.path.realpath(whole) != whole:
        raise _outside(path)
    with _opened(whole, path) as handle, os.fdopen(handle, "rb", closefd=False) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return LocalFile(Path(whole), sha256, file.tell())


@contextmanager
def _opened(whole: str, path: str) -> Iterator[int]:
    # Without waiting for the other end, should it have become a pipe.
    handle = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _outside(path)
        yield handle
    finally:
        os.close(handle)


def _outside(path: str) -> FileOutside:
    return FileOutside(
        f"{path} is not a plain file in the landing folder any more; expected no link in its "
        "path; put the file itself there"
    )


def _copy(folder: RemoteFolder, path: str, spool_dir: Path) -> LocalFile:
    digest = hashlib.sha256()
    size_bytes = 0
    spool_dir.mkdir(parents=True, exist_ok=True)
    suffix = PurePosixPath(path).suffix[:16]
    with NamedTemporaryFile(dir=spool_dir, suffix=suffix, delete=False) as copy:
        try:
            with folder.filesystem.open(f"{folder.root.rstrip('/')}/{path}", "rb") as remote:
                while block := remote.read(_COPY_BYTES):
                    digest.update(block)
                    copy.write(block)
                    size_bytes += len(block)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise
    return LocalFile(Path(copy.name), digest.hexdigest(), size_bytes, is_copy=True)
