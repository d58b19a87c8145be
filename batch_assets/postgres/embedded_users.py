"""The processes that use an embedded server.

Each holds a lock on a file of its own for as long as it lives. The server may go when nobody is
left; embedded_keeper.py looks.
"""

import atexit
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batch_assets.errors import EmbeddedServerError
from batch_assets.postgres.embedded_files import ServerFiles
from batch_assets.postgres.embedded_locks import is_locked, try_lock


@dataclass(frozen=True, slots=True)
class _Membership:
    file: Path
    descriptor: int


class Memberships:
    """The servers that this process uses, by their control folder.

    Attributes:
        guard: Held while a membership is looked up and acted upon.
    """

    def __init__(self, at_exit: Callable[[list[Path]], None]) -> None:
        """Prepare to join servers.

        Args:
            at_exit: Called at the end of the process with the control folders it has joined.
        """
        self.guard = threading.Lock()
        self._joined: dict[Path, _Membership] = {}
        self._at_exit = at_exit
        self._is_watching = False

    def has_joined(self, files: ServerFiles) -> bool:
        """Whether this process counts as a user of the server; False if that was removed."""
        membership = self._joined.get(files.control)
        return membership is not None and membership.file.exists()

    def join(self, files: ServerFiles) -> None:
        """Count as a user until this process ends; the caller holds the main lock."""
        if self.has_joined(files):
            return
        self._watch()
        self.leave(files)
        draft = files.users / f"{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = try_lock(draft)
        if descriptor is None:
            raise EmbeddedServerError(
                f"{draft} cannot be locked, expected a new file of our own; the file system may "
                "not support locks: choose another with BATCH_ASSETS_HOME"
            )
        # It gets the name the keeper looks for only now that it is locked.
        file = draft.rename(draft.with_suffix(".user"))
        self._joined[files.control] = _Membership(file, descriptor)

    def leave(self, files: ServerFiles) -> None:
        """Stop counting as a user."""
        membership = self._joined.pop(files.control, None)
        if membership is not None:
            os.close(membership.descriptor)

    def _watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            os.register_at_fork(after_in_child=self._start_over)
            atexit.register(lambda: self._at_exit(list(self._joined)))

    def _start_over(self) -> None:
        # The inherited descriptors stay open: they are what makes the child count as a user.
        self.guard = threading.Lock()
        self._joined.clear()


def live_users(files: ServerFiles) -> list[str]:
    """Names of the files whose process lives; removes the files of the dead."""
    names = []
    for file in sorted(files.users.glob("*.user")):
        if is_locked(file):
            names.append(file.name)
        else:
            file.unlink(missing_ok=True)
    return names
