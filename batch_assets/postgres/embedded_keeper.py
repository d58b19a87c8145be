"""The keeper: a small process that owns the embedded server until its last user has left.

It starts PostgreSQL as its child, starts it again after a crash while somebody uses it, forgets
users that died, and stops it when nobody is left. Nobody talks to the keeper: it reads the users'
locks and writes its status file. Started by embedded.py; imports nothing heavy.
"""

import os
import select
import shutil
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
    last_lines,
    read_plan,
    write_note,
)
from batch_assets.postgres.embedded_locks import try_lock, unlock
from batch_assets.postgres.embedded_users import live_users

_LONGEST_TICK_SECONDS = 1.0
_SHORTEST_TICK_SECONDS = 0.05
_LOCK_SECONDS = 5.0
_STARTING_TICK_SECONDS = 0.02
_START_SECONDS = 300.0  # crash recovery of a large database takes minutes
_RESTARTS_ALLOWED = 5
_RESTART_MEMORY_SECONDS = 60.0
_LOG_BYTES = 20 * 1024 * 1024


def main(control: str) -> None:
    """Keep the server in a process of its own; returns in the caller when that is at work."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        is_at_work = os.read(reading, 1) == b"1"
        sys.exit(0 if is_at_work else "the keeper ended at once")
    os.close(reading)
    os.umask(0o077)
    files = ServerFiles(Path(control))
    lock = _own_lock(files)
    os.write(writing, b"1")
    os.close(writing)
    plan = read_plan(files)
    if plan is None:
        raise EmbeddedServerError(f"{files.plan} cannot be read, expected it to be just written")
    keeper = Keeper(files, plan)
    try:
        keeper.run()
    except (EmbeddedServerError, OSError, psutil.Error) as error:
        keeper.report("failed", str(error))
        raise
    finally:
        unlock(lock)


def _own_lock(files: ServerFiles) -> int:
    # A process that only looks whether the lock is held has it for a moment.
    deadline = time.monotonic() + _LOCK_SECONDS
    while (lock := try_lock(files.keeper_lock)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"{files.keeper_lock} is locked, expected to be the keeper")
        time.sleep(_STARTING_TICK_SECONDS)
    return lock


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
        tick = max(_SHORTEST_TICK_SECONDS, min(_LONGEST_TICK_SECONDS, self.plan.linger_seconds))
        self._adopt_or_start()
        idle_since: float | None = None
        while True:
            select.select([wake], [], [], tick)
            _drain(wake)
            if self.is_told_to_stop or not self.files.plan.exists():
                self._stop()
                return
            _bound_log(self.files.server_log)
            _bound_log(self.files.keeper_log)
            if live_users(self.files):
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
        elif self.plan.socket.exists():
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
                    f"log {self.files.server_log} ends with: {last_lines(self.files.server_log)}"
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
                f"{last_lines(self.files.server_log)}"
            )
        self._start()

    def _leave(self) -> bool:
        """Stop the server unless somebody is starting or has joined meanwhile."""
        lock = try_lock(self.files.main_lock)
        if lock is None:
            return False
        try:
            if live_users(self.files):
                return False
            self._stop()
        finally:
            unlock(lock)
        return True

    def _stop(self) -> None:
        self.report("stopping")
        if self.server is not None:
            postmaster.stop_postmaster(self.server)
        if self.plan.uid is None:
            # Ours is in the temporary folder; it is made again with the same name if that is free.
            shutil.rmtree(self.plan.socket_dir, ignore_errors=True)
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


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _bound_log(log: Path) -> None:
    """Keep the log to two files of 20 MiB; the server appends, so it may be cut under it."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        shutil.copyfile(log, log.with_suffix(".1.log"))
        os.truncate(log, 0)
