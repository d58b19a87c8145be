"""The keeper: a small process that owns the embedded server until its last user has left.

It starts PostgreSQL as its child, starts it again after a crash while somebody uses it, forgets
users that died, and stops it when nobody is left. Nobody talks to the keeper: it reads the users'
locks and writes its status file. Started by embedded.py; imports nothing heavy.
"""

import os
import select
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from batch_assets.errors import EmbeddedServerError
from batch_assets.postgres import embedded_postmaster as postmaster
from batch_assets.postgres.embedded_files import (
    ServerFiles,
    ServerPlan,
    read_note,
    write_note,
)
from batch_assets.postgres.embedded_locks import is_locked, try_lock

_TICK_SECONDS = 1.0
_STARTING_TICK_SECONDS = 0.02
_START_SECONDS = 300.0  # crash recovery of a large database takes minutes
_RESTARTS_ALLOWED = 5
_RESTART_MEMORY_SECONDS = 60.0
_LOG_BYTES = 20 * 1024 * 1024


def main(control: str) -> None:
    """Detach from the starting process and keep the server."""
    if os.fork():
        os._exit(0)
    os.setsid()
    files = ServerFiles(Path(control))
    deadline = time.monotonic() + 2.0
    # A process that only looks whether the lock is held has it for a moment.
    while (lock := try_lock(files.keeper_lock)) is None:
        if time.monotonic() > deadline:
            return
        time.sleep(_STARTING_TICK_SECONDS)
    keeper = Keeper(files, ServerPlan(**read_note(files.plan)))
    try:
        keeper.run()
    except EmbeddedServerError as error:
        keeper.report("failed", str(error))
        raise
    finally:
        os.close(lock)


def live_users(users: Path) -> list[str]:
    """Names of the users' files whose process lives; removes the files of the dead."""
    names = []
    for file in sorted(users.glob("*.user")):
        if is_locked(file):
            names.append(file.name)
        else:
            file.unlink(missing_ok=True)
    return names


@dataclass
class Keeper:
    """The state of one keeper process."""

    files: ServerFiles
    plan: ServerPlan
    server: psutil.Process | None = None
    started_at: list[float] = field(default_factory=list)
    is_told_to_stop: bool = False

    def run(self) -> None:
        """Keep the server until nobody uses it, somebody ends it, or its folder is removed."""
        wake = self._listen_to_signals()
        self._adopt_or_start()
        idle_since: float | None = None
        while True:
            select.select([wake], [], [], _TICK_SECONDS)
            _drain(wake)
            if self.is_told_to_stop or not self.files.plan.exists():
                self._stop()
                return
            _bound_log(self.files.server_log)
            if live_users(self.files.users):
                idle_since = None
                self._restart_if_dead()
                continue
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= self.plan.linger_seconds and self._leave():
                return

    def report(self, state: str, message: str = "") -> None:
        """Tell everybody how the server does."""
        if self.files.control.is_dir():
            write_note(
                self.files.status,
                {
                    "state": state,
                    "message": message,
                    "keeper_pid": os.getpid(),
                    "postgres_pid": self.server.pid if self.server else None,
                },
            )

    def _adopt_or_start(self) -> None:
        self.server = postmaster.find_postmaster(Path(self.plan.data_dir))
        if self.server is None:
            self._start()
        elif _socket(self.plan).exists():
            self._await_ready()
        else:
            postmaster.stop_postmaster(self.server)
            self._start()

    def _start(self) -> None:
        self.server = None
        # Before the server listens: whoever sees it listen must not read an older "ready".
        self.report("starting")
        self.server = postmaster.start_postmaster(self.plan, self.files.server_log)
        self.started_at.append(time.monotonic())
        self._await_ready()

    def _await_ready(self) -> None:
        assert self.server is not None  # noqa: S101 - for the type checker
        deadline = time.monotonic() + _START_SECONDS
        while not postmaster.is_ready(self.server, Path(self.plan.data_dir)):
            if self.is_told_to_stop:
                return
            if not postmaster.is_alive(self.server) or time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"PostgreSQL did not become ready; expected it to accept connections, its "
                    f"log {self.files.server_log} ends with: {_tail(self.files.server_log)}"
                )
            time.sleep(_STARTING_TICK_SECONDS)
        self.report("ready")

    def _restart_if_dead(self) -> None:
        if self.server is not None and postmaster.is_alive(self.server):
            return
        recently = time.monotonic() - _RESTART_MEMORY_SECONDS
        if sum(moment > recently for moment in self.started_at) > _RESTARTS_ALLOWED:
            raise EmbeddedServerError(
                f"PostgreSQL ended {_RESTARTS_ALLOWED} times within {_RESTART_MEMORY_SECONDS:.0f} "
                f"s, expected it to run; its log {self.files.server_log} ends with: "
                f"{_tail(self.files.server_log)}"
            )
        self._start()

    def _leave(self) -> bool:
        """Stop the server unless somebody is starting or has joined meanwhile."""
        lock = try_lock(self.files.main_lock)
        if lock is None:
            return False
        try:
            if live_users(self.files.users):
                return False
            self._stop()
        finally:
            os.close(lock)
        return True

    def _stop(self) -> None:
        self.report("stopping")
        if self.server is not None:
            postmaster.stop_postmaster(self.server)
        self.report("stopped")

    def _listen_to_signals(self) -> int:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell_to_stop)
        return reading

    def _tell_to_stop(self, *_: object) -> None:
        self.is_told_to_stop = True


def _socket(plan: ServerPlan) -> Path:
    return Path(plan.socket_dir) / f".s.PGSQL.{postmaster.PORT}"


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _bound_log(log: Path) -> None:
    """Keep the log to two files of 20 MiB; the server appends, so it may be cut under it."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.with_suffix(".1.log").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return " | ".join(lines[-5:])


if __name__ == "__main__":
    main(sys.argv[1])
