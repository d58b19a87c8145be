"""Who owns the embedded server, and the folders that only its owner may enter.

Not root: the user itself. Root: the system user `batch_assets_pg`, created when absent, because
PostgreSQL refuses to run as root. `nobody` is no substitute: every other service that runs as
`nobody` could read the data.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from batch_assets.errors import EmbeddedServerError
from batch_assets.postgres.embedded_files import SOCKET_NAME

SERVICE_USER = "batch_assets_pg"

# The kernel's limit for a socket path is 107 bytes on Linux and 103 on macOS.
_SOCKET_PATH_BYTES = 90


@dataclass(frozen=True, slots=True)
class Owner:
    """The user PostgreSQL runs as; both are None for the user of this process."""

    uid: int | None = None
    gid: int | None = None


def is_root() -> bool:
    """Whether this process has the rights that PostgreSQL refuses to run with."""
    return os.geteuid() == 0


def server_owner() -> Owner:
    """The user to run PostgreSQL as when we are root, created if it has to be.

    Raises:
        EmbeddedServerError: The service user cannot be created.
    """
    import pwd  # not on Windows, where this module must still import

    try:
        entry = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        _create_service_user()
        entry = pwd.getpwnam(SERVICE_USER)
    if entry.pw_uid == 0:
        raise EmbeddedServerError(
            f"the system user {SERVICE_USER} has number 0, expected an unprivileged user; "
            "give it another number"
        )
    return Owner(entry.pw_uid, entry.pw_gid)


def _create_service_user() -> None:
    command = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    advice = (
        "PostgreSQL does not run as root: run as another user, create the system user "
        f"{SERVICE_USER} yourself, or set BATCH_ASSETS_DATABASE_URL"
    )
    if command is None:
        raise EmbeddedServerError(
            f"there is no system user {SERVICE_USER} and no command useradd; {advice}"
        )
    result = subprocess.run(  # noqa: S603 - fixed arguments
        [
            command,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir=/nonexistent",
            "--shell=/usr/sbin/nologin",
            "--comment=batch_assets embedded PostgreSQL",
            SERVICE_USER,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise EmbeddedServerError(
            f"useradd {SERVICE_USER} failed: {result.stderr.strip()}; {advice}"
        )


def make_folder(path: Path, mode: int, owner: Owner | None = None) -> None:
    """Create a folder with this mode and owner, or check that an existing one is as safe.

    A folder that exists is never changed: whoever made it had a reason, or an intention.

    Raises:
        EmbeddedServerError: It exists with another owner, is open to others, or is a link.
    """
    owner = owner or Owner()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check_folder(path, mode, owner)
    except OSError as error:
        raise EmbeddedServerError(
            f"{path} cannot be created: {error.strerror}; expected a writable folder, choose "
            "another with BATCH_ASSETS_HOME or set BATCH_ASSETS_DATABASE_URL"
        ) from error
    else:
        if owner.uid is not None and owner.gid is not None:
            os.chown(path, owner.uid, owner.gid)
        path.chmod(mode)


def _check_folder(path: Path, mode: int, owner: Owner) -> None:
    found = path.lstat()
    expected_uid = os.geteuid() if owner.uid is None else owner.uid
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == expected_uid
    # A private folder is closed to others; one they may pass through must not be writable.
    refused_bits = 0o077 if mode == 0o700 else 0o022
    if not is_ours or found.st_mode & refused_bits:
        raise EmbeddedServerError(
            f"{path} is {stat.filemode(found.st_mode)} of user number {found.st_uid}, expected a "
            f"folder of user number {expected_uid} that is not open to others; run as its owner, "
            "remove it, or choose another place with BATCH_ASSETS_HOME"
        )


def socket_folder(home: Path, previous: str | None, owner: Owner) -> Path:
    """The folder of the socket: short, 0700, and the same as last time if possible.

    Root has one beside the data. Others get one in the temporary folder, because theirs is as
    deep as the checkout, and checkouts are also on file systems that have no sockets.
    """
    if is_root():
        folder = home / "socket"
        make_folder(folder, 0o700, owner)
        return folder
    if previous is not None:
        folder = Path(previous)
        try:
            make_folder(folder, 0o700, owner)
        except EmbeddedServerError:
            # Somebody else has taken the name since; their folder is none of our business.
            return _new_socket_folder()
        return folder
    return _new_socket_folder()


def _new_socket_folder() -> Path:
    for parent in (Path("/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - mkdtemp is safe there
        if not os.access(parent, os.W_OK):
            continue
        folder = Path(tempfile.mkdtemp(prefix="batch_assets-", dir=parent))
        if len(os.fsencode(folder / SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
            return folder
        folder.rmdir()
    raise EmbeddedServerError(
        f"no short temporary folder for the socket: /tmp is not writable and "
        f"{tempfile.gettempdir()} is longer than a socket path may be; set TMPDIR to a folder "
        "with a short name"
    )
