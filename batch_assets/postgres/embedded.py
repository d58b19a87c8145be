"""The embedded server: a private PostgreSQL that lives as long as somebody uses it.

`ensure_server` starts the server of a state directory or joins it. The first caller starts a
keeper (embedded_keeper.py), which owns PostgreSQL; every caller holds a lock that vanishes with
its process (embedded_users.py), so the keeper knows who is left even after `kill -9`.

A forked child counts as a user for as long as it lives. A program started with exec does not: it
calls `ensure_server` itself, as everything that uses `connect.database_url` does. Users with
different user numbers do not share a server, even with the same state directory.
"""

import logging
import os
import shutil
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from batch_assets.errors import ConfigurationError, EmbeddedServerError
from batch_assets.postgres.embedded_files import (
    PORT,
    ROOT_HOME,
    ServerFiles,
    ServerPlan,
    last_lines,
    read_note,
    read_plan,
    server_files,
)
from batch_assets.postgres.embedded_launch import launch_keeper, run_keeper
from batch_assets.postgres.embedded_locks import is_locked, locked
from batch_assets.postgres.embedded_owner import make_folder
from batch_assets.postgres.embedded_postmaster import find_postmaster, stop_postmaster
from batch_assets.postgres.embedded_users import Memberships, live_users

_log = logging.getLogger(__name__)

# A process that ends and one that starts right after it, as in a shell script, share a server.
DEFAULT_LINGER_SECONDS = 2.0

_START_SECONDS = 120.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running private server.

    Attributes:
        data_dir: PostgreSQL's data directory.
        install_dir: Folder with the `bin` of the server's own programs (psql, pg_dump).
        socket_dir: Folder of its socket, which only its owner may enter.
        log_file: What the server says.
        password: Password of the database user `postgres`.
    """

    data_dir: Path
    install_dir: Path
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


def ensure_server(
    state_dir: Path, *, linger_seconds: float = DEFAULT_LINGER_SECONDS
) -> EmbeddedServer:
    """Start or join the server of a state directory.

    This process counts as a user from now until it ends. Safe to call often, from several
    threads and processes at once; a call that finds the server running costs about 1 ms.

    Args:
        state_dir: Identifies the server; created if absent.
        linger_seconds: How long the server outlives its last user, if this call starts it.

    Raises:
        ConfigurationError: There is no embedded PostgreSQL on this machine.
        EmbeddedServerError: It does not start; the message holds the end of its log.
    """
    _check_platform()
    files = server_files(state_dir)
    with _memberships.guard:
        plan = _serving_plan(files) if _memberships.has_joined(files) else None
        if plan is None:
            plan = _start_or_join(files, linger_seconds)
    return EmbeddedServer(
        data_dir=Path(plan.data_dir),
        install_dir=Path(plan.install_dir),
        socket_dir=Path(plan.socket_dir),
        log_file=files.server_log,
        password=files.password.read_text(encoding="ascii"),
    )


def server_status(state_dir: Path) -> ServerStatus:
    """Say how the server of a state directory does, without starting it."""
    files = server_files(state_dir)
    plan = read_plan(files)
    if plan is None:
        return ServerStatus("absent", "", 0, None, None, None, files.server_log)
    note = read_note(files.status)
    has_keeper = is_locked(files.keeper_lock)
    state = note.get("state", "starting" if has_keeper else "stopped")
    server = find_postmaster(Path(plan.data_dir))
    if not has_keeper and state != "failed":
        state = "ready" if server else "stopped"
    return ServerStatus(
        state=state,
        message=note.get("message", ""),
        user_count=len(live_users(files)),
        keeper_pid=note.get("keeper_pid") if has_keeper else None,
        postgres_pid=server.pid if server else None,
        data_dir=Path(plan.data_dir),
        log_file=files.server_log,
    )


def stop_server(state_dir: Path) -> None:
    """Stop the server of a state directory, whoever uses it; the next use starts it again."""
    files = server_files(state_dir)
    if files.control.is_dir():
        _check_platform()
        with locked(files.main_lock, wait_seconds=_START_SECONDS):
            _stop(files)


def remove_server(state_dir: Path) -> None:
    """Stop the server of a state directory and delete its data."""
    files = server_files(state_dir)
    if not files.control.is_dir():
        return
    _check_platform()
    with _memberships.guard, locked(files.main_lock, wait_seconds=_START_SECONDS):
        _stop(files)
        _memberships.leave(files)
        plan = read_plan(files)
        if plan is not None:
            shutil.rmtree(plan.socket_dir, ignore_errors=True)  # usually gone with the server
            if Path(plan.data_dir).parent.parent == ROOT_HOME:
                shutil.rmtree(Path(plan.data_dir).parent)
        # The lock goes with the folder: whoever waits for it finds it gone and makes a new one.
        shutil.rmtree(files.control)


def _check_platform() -> None:
    if os.name != "posix":
        raise ConfigurationError(
            "there is no embedded PostgreSQL on Windows; set "
            "BATCH_ASSETS_DATABASE_URL=postgresql://user:password@host/database, or run inside "
            'WSL, where `pip install "batch-assets[embedded]"` brings one'
        )


def _start_or_join(files: ServerFiles, linger_seconds: float) -> ServerPlan:
    while True:
        files.control.parent.mkdir(parents=True, exist_ok=True)
        make_folder(files.control, 0o700)
        try:
            with locked(files.main_lock, wait_seconds=_START_SECONDS):
                make_folder(files.users, 0o700)
                _memberships.join(files)
                if not is_locked(files.keeper_lock):
                    launch_keeper(files, linger_seconds)
                return _await_serving(files)
        except FileNotFoundError:
            # Somebody removed the server while we waited for the lock: make a new one.
            if files.control.exists():
                raise


def _serving_plan(files: ServerFiles) -> ServerPlan | None:
    """The plan of the server if it accepts connections now."""
    plan = read_plan(files)
    # First the socket, then the note: the keeper withdraws "ready" before a new server listens.
    is_serving = (
        plan is not None
        and is_locked(files.keeper_lock)
        and _accepts(plan.socket)
        and read_note(files.status).get("state") == "ready"
    )
    return plan if is_serving else None


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _await_serving(files: ServerFiles) -> ServerPlan:
    deadline = time.monotonic() + _START_SECONDS
    while (plan := _serving_plan(files)) is None:
        note = read_note(files.status)
        if note.get("state") == "failed":
            raise EmbeddedServerError(note["message"])
        if not is_locked(files.keeper_lock):
            raise EmbeddedServerError(
                "the keeper of the embedded PostgreSQL ended while it started, expected a "
                f"server; {files.keeper_log} ends with: {last_lines(files.keeper_log)}"
            )
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the embedded PostgreSQL is '{note.get('state', 'starting')}' after "
                f"{_START_SECONDS:.0f} s, expected 'ready'; recovery of a large database may take "
                f"longer, then try again; {files.server_log} ends with: "
                f"{last_lines(files.server_log)}"
            )
        time.sleep(_POLL_SECONDS)
    return plan


def _stop(files: ServerFiles) -> None:
    deadline = time.monotonic() + _START_SECONDS
    told: int | None = None
    while is_locked(files.keeper_lock):
        keeper_pid = read_note(files.status).get("keeper_pid")
        if keeper_pid is not None and keeper_pid != told:
            os.kill(keeper_pid, signal.SIGTERM)
            told = keeper_pid
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the keeper (process {keeper_pid}) still runs after {_START_SECONDS:.0f} s, "
                f"expected it to stop PostgreSQL; {files.server_log} ends with: "
                f"{last_lines(files.server_log)}"
            )
        time.sleep(_POLL_SECONDS)
    plan = read_plan(files)
    orphan = find_postmaster(Path(plan.data_dir)) if plan else None
    if orphan is not None:
        stop_postmaster(orphan)


def _leave_orphans_to_a_keeper(controls: list[Path]) -> None:
    """Start a keeper for a server whose keeper was killed, or nobody would ever stop it."""
    for files in map(ServerFiles, controls):
        plan = read_plan(files)
        if plan is None or is_locked(files.keeper_lock):
            continue
        if find_postmaster(Path(plan.data_dir)) is not None:
            _log.warning("the embedded server lost its keeper; starting another to stop it")
            run_keeper(files)


_memberships = Memberships(at_exit=_leave_orphans_to_a_keeper)
