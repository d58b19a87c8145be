"""Where the files of one embedded server are, and the notes its processes leave each other.

Everything that only we read (locks, users, password, logs) is in `<state_dir>/postgres`. When we
run as root, PostgreSQL itself refuses to, so its data and socket are below /var/lib/batch_assets
and belong to a system user of their own (embedded_owner.py).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT_HOME = Path("/var/lib/batch_assets")
PORT = 5432  # part of the socket's name; nothing listens on the network
SOCKET_NAME = f".s.PGSQL.{PORT}"


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """The paths of one server.

    Attributes:
        control: Folder of the state directory that only its owner may enter.
    """

    control: Path

    @property
    def main_lock(self) -> Path:
        """Held while the server is being started, stopped or removed."""
        return self.control / "lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper for as long as it lives."""
        return self.control / "keeper.lock"

    @property
    def users(self) -> Path:
        """One file per using process, locked by it for as long as it lives."""
        return self.control / "users"

    @property
    def plan(self) -> Path:
        """How the server is run: written by the process that starts it, read by the keeper."""
        return self.control / "server.json"

    @property
    def status(self) -> Path:
        """How the server does: written by the keeper."""
        return self.control / "status.json"

    @property
    def password(self) -> Path:
        """The password of the database user `postgres`."""
        return self.control / "password"

    @property
    def server_log(self) -> Path:
        """What PostgreSQL says."""
        return self.control / "postgres.log"

    @property
    def keeper_log(self) -> Path:
        """What the keeper says; empty unless something is wrong."""
        return self.control / "keeper.log"

    @property
    def mark(self) -> Path:
        """A random text that tells this control folder from an earlier one of the same name."""
        return self.control / "mark"


def server_files(state_dir: Path) -> ServerFiles:
    """The files of the server that belongs to a state directory, which need not exist."""
    return ServerFiles(Path(os.path.realpath(state_dir)) / "postgres")


def server_home(files: ServerFiles) -> Path:
    """The folder of the data, and for root of the socket too; makes the mark it depends on.

    A state directory that is removed and made anew starts with an empty database. For root,
    whose data is elsewhere, the mark sees to that.
    """
    if os.geteuid() != 0:
        return files.control
    if not files.mark.exists():
        write_private(files.mark, os.urandom(16).hex())
    identity = os.fsencode(files.control) + files.mark.read_bytes()
    return ROOT_HOME / sha256(identity).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What the keeper needs to know to run the server.

    Attributes:
        install_dir: Folder with PostgreSQL's `bin`, `lib` and `share`.
        data_dir: PostgreSQL's data directory.
        socket_dir: Folder of its socket, 0700.
        uid: User to run PostgreSQL as; None for the keeper's own.
        gid: Group to run PostgreSQL as; None for the keeper's own.
        linger_seconds: How long the server outlives its last user.
    """

    install_dir: str
    data_dir: str
    socket_dir: str
    uid: int | None
    gid: int | None
    linger_seconds: float

    @property
    def socket(self) -> Path:
        """The socket that clients connect to."""
        return Path(self.socket_dir) / SOCKET_NAME


def read_plan(files: ServerFiles) -> ServerPlan | None:
    """The plan of the server that runs or ran last; None if there was none we understand."""
    note = read_note(files.plan)
    names = [field.name for field in fields(ServerPlan)]
    # A later version may have written more; one that wrote less is planned again.
    if not all(name in note for name in names):
        return None
    return ServerPlan(**{name: note[name] for name in names})


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read; readers see the old text or the new one."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write a JSON object privately and at once."""
    write_private(path, json.dumps(note, indent=1))


def read_note(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is absent or was cut off by a full disk."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return note if isinstance(note, dict) else {}


def last_lines(log: Path) -> str:
    """The last five lines of a log, joined with bars, for a message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    return " | ".join(lines[-5:])
