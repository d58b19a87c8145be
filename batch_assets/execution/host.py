"""The host: keeps the workers of one pool, in a process that imports nothing of the users.

Started as `python -m batch_assets.execution.host`, so that it stays small and its workers start
fast, whatever the client has imported. It lives as long as its client and then ends every process
it has.

Not concurrent.futures, where one dead worker fails every task; and not pebble, whose workers share
one pipe: a worker killed while it sent a result stopped all others for good, workers killed while
idle broke the pool, and what a task had forked lived on (each seen with 5.2).
"""

import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

from batch_assets.execution import process_limits
from batch_assets.execution.framing import Message, MessageReader, encode_message, receive_message
from batch_assets.execution.worker_process import HostedTask
from batch_assets.execution.workforce import Ending, NoWorkers, Workforce, WorkPlan

_RECEIVE_BYTES = 1024 * 1024
_LONGEST_WAIT_SECONDS = 3600.0


class Host:
    """The loop between the client's socket and the workers."""

    def __init__(self, link: socket.socket, wakeup: int, plan: WorkPlan) -> None:
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._reader = MessageReader()
        self._unsent = bytearray()
        self._stop_at: float | None = None
        self._is_over = False
        self._has_signal = False
        self._wakeup = wakeup
        self._workforce = Workforce(
            plan,
            self._selector,
            tell_started=self._tell_started,
            tell_ended=self._tell_ended,
        )
        link.setblocking(False)
        self._selector.register(link, selectors.EVENT_READ, self._read_link)
        self._selector.register(wakeup, selectors.EVENT_READ, self._read_wakeup)

    def run(self) -> None:
        """Work until the client is gone or wants no more."""
        try:
            while not self._is_over:
                self._turn()
        except NoWorkers as error:
            self._say("broken", str(error))
            self._write_link()
        finally:
            self._workforce.end_all()

    def end(self) -> None:
        """Leave the loop after this turn."""
        self._is_over = True

    def _turn(self) -> None:
        self._workforce.start_missing()
        self._workforce.dispatch()
        self._write_link()
        if self._is_stopped():
            self.end()
            return
        for key, _ in self._selector.select(self._seconds_to_wait()):
            key.data()
        self._workforce.end_late()
        if self._has_signal:
            self._has_signal = False
            self._workforce.bury_dead()

    def _is_stopped(self) -> bool:
        if self._stop_at is None:
            return False
        # What a task has answered is delivered before the host leaves.
        is_done = not self._workforce.is_busy and not self._unsent
        return is_done or time.monotonic() >= self._stop_at

    def _seconds_to_wait(self) -> float | None:
        deadline = self._workforce.next_deadline
        moments = [moment for moment in (deadline, self._stop_at) if moment is not None]
        if not moments:
            return None
        # The kernel counts the milliseconds of a wait in 31 bits.
        return min(max(0.0, min(moments) - time.monotonic()), _LONGEST_WAIT_SECONDS)

    def _read_wakeup(self) -> None:
        self._has_signal = True
        try:
            os.read(self._wakeup, 4096)
        except BlockingIOError:
            return

    def _read_link(self) -> None:
        try:
            received = self._link.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.end()
        for message in self._reader.feed(received):
            self._obey(message)

    def _obey(self, message: Message) -> None:
        kind, *parts = message
        if kind == "task":
            self._workforce.add(HostedTask(*parts))
        elif kind == "cancel":
            self._workforce.cancel(parts[0])
        elif kind == "stop":
            self._workforce.is_stopping = True
            self._stop_at = time.monotonic() + parts[0]

    def _tell_started(self, task: HostedTask) -> None:
        self._say("started", task.number)

    def _tell_ended(self, task: HostedTask, ending: Ending) -> None:
        self._say(
            "ended",
            task.number,
            task.attempts,
            self._workforce.restarts,
            str(ending.outcome),
            ending.error,
            ending.details,
            *ending.value,
            ending.seconds,
            ending.peak_bytes,
            ending.exit_code,
            ending.signal,
        )

    def _say(self, *parts: object) -> None:
        self._unsent += encode_message(*parts)

    def _write_link(self) -> None:
        wanted = selectors.EVENT_READ
        try:
            while self._unsent:
                del self._unsent[: self._link.send(self._unsent)]
        except BlockingIOError:
            wanted |= selectors.EVENT_WRITE
        except OSError:
            self.end()
        if self._selector.get_key(self._link).events != wanted:
            self._selector.modify(self._link, wanted, self._read_link)


def main() -> None:
    """Serve the client that started this process."""
    client_pid, descriptor = map(int, sys.argv[1:])
    # Ctrl-C is the client's to answer; a client that dies of it is noticed below.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wakeup = _wake_by_signals()
    os.set_inheritable(descriptor, False)
    link = socket.socket(fileno=descriptor)
    process_limits.adopt_orphans()
    process_limits.forbid_core_files()
    message = receive_message(link)
    if message is None:
        return
    plan = WorkPlan(*message)
    host = Host(link, wakeup, plan)
    signal.signal(signal.SIGTERM, lambda *_: host.end())
    if process_limits.die_with_parent(client_pid, signal.SIGTERM):
        host.run()
    if os.getppid() != client_pid:
        for file in Path(plan.folder).glob("*.*"):
            file.unlink(missing_ok=True)


def _wake_by_signals() -> int:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


if __name__ == "__main__":
    main()
