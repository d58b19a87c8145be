"""One worker as the host sees it: start it, give it a task, read what it says, end it."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from batch_assets.execution.descendants import MARK
from batch_assets.execution.framing import Message, MessageReader, encode_message
from batch_assets.execution.worker import CONTROL_DESCRIPTOR

# Enough for the message of an abort and the dump of faulthandler behind it.
_TAIL_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024
_READS_AT_ONCE = 16


@dataclass(slots=True)
class HostedTask:
    """One task within the host.

    Attributes:
        number: The client's, unique within the pool.
        order: The rest of the message to a worker, opaque here.
        timeout_seconds: From sending it to a worker.
        memory_bytes: What it may add to the worker.
        attempts: How often it was started.
    """

    number: int
    order: tuple[object, ...]
    timeout_seconds: float
    memory_bytes: int
    attempts: int = 0


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker and its two channels, both non-blocking on this side.

    Attributes:
        pid: Also the id of its process group; 0 until it has told.
        mark: In its environment, and in that of whatever it starts.
        control: Messages.
        output: Read end of its standard output and error.
        is_ready: Whether it has finished starting.
        running: The task it has.
        sent_at: When it got that, on the monotonic clock.
        tasks_done: How many it has finished.
        is_retired: Whether it was told to end; its end is then no crash.
        is_closed: Whether it has closed its side of `control`; it can be of no use any more.
    """

    pid: int
    mark: str
    control: socket.socket
    output: int
    is_ready: bool = False
    running: HostedTask | None = None
    sent_at: float = 0.0
    tasks_done: int = 0
    is_retired: bool = False
    is_closed: bool = False
    _reader: MessageReader = field(default_factory=MessageReader)
    _tail: bytearray = field(default_factory=bytearray)

    @property
    def is_idle(self) -> bool:
        """Whether it can take a task."""
        return self.is_ready and self.running is None and not self.is_retired

    @property
    def deadline(self) -> float | None:
        """When its task has to be done, on the monotonic clock."""
        return self.sent_at + self.running.timeout_seconds if self.running else None

    @property
    def last_output(self) -> bytes:
        """The end of what its task wrote."""
        return bytes(self._tail)

    def give(self, task: HostedTask, result_file: str) -> bool:
        """Send it a task; False if it cannot even take a message."""
        self.running, self.sent_at = task, time.monotonic()
        self.read_output()
        self._tail.clear()
        message = encode_message(task.number, *task.order, task.memory_bytes, result_file)
        try:
            return self.control.send(message) == len(message)
        except OSError:
            return False

    def read_messages(self) -> Iterator[Message]:
        """What it has said since the last look; `is_closed` tells whether more can come."""
        while not self.is_closed:
            try:
                received = self.control.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            try:
                yield from self._reader.feed(received)
            except (ValueError, EOFError, TypeError):
                # Not what a worker of ours says: a task has written into the channel.
                received = b""
            self.is_closed = not received

    def read_output(self) -> bool:
        """Keep the end of what it wrote; False once nobody can write any more."""
        # Bounded: a task that never stops writing must not keep the host from its other workers.
        for _ in range(_READS_AT_ONCE):
            try:
                written = os.read(self.output, _READ_BYTES)
            except OSError:
                return True
            if not written:
                return False
            self._tail += written
            del self._tail[:-_TAIL_BYTES]
        return True

    def read_peak_bytes(self) -> int:
        """The most it has had in RAM, while it lives."""
        with suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return 0

    def kill(self) -> None:
        """End it together with what it started in its process group."""
        self.is_retired = True
        # 0 would be our own group; one that has not told its id ends when its channels close.
        if self.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close both channels; a worker that lives ends by that."""
        self.control.close()
        os.close(self.output)


@dataclass(frozen=True, slots=True)
class Channels:
    """Both ends of what connects a worker with the host.

    Attributes:
        control: Our side of the messages.
        their_control: The worker's.
        output: Read end of what it writes.
        their_output: Where it writes.
    """

    control: socket.socket
    their_control: socket.socket
    output: int
    their_output: int

    @classmethod
    def open(cls) -> "Channels":
        """New ones; ours do not block.

        Raises:
            OSError: The system has no room for more.
        """
        control, their_control = socket.socketpair()
        try:
            output, their_output = os.pipe()
        except OSError:
            control.close()
            their_control.close()
            raise
        control.setblocking(False)
        os.set_blocking(output, False)
        return cls(control, their_control, output, their_output)

    def close_ours(self) -> None:
        """Close our ends: there is no worker."""
        self.control.close()
        os.close(self.output)

    def close_theirs(self) -> None:
        """Close the worker's ends, which it has by now."""
        self.their_control.close()
        os.close(self.their_output)


def start_worker(
    environment: Mapping[str, str], preload: Sequence[str], mark: str
) -> WorkerProcess:
    """Start a worker from nothing, in a process group of its own.

    Raises:
        OSError: The system has no room for another process.
    """
    channels = Channels.open()
    try:
        pid = start_module(
            "batch_assets.execution.worker",
            preload,
            {**environment, MARK: mark},
            control=channels.their_control,
            output=channels.their_output,
        )
    except OSError:
        channels.close_ours()
        raise
    finally:
        channels.close_theirs()
    return WorkerProcess(pid, mark, channels.control, channels.output)


def start_module(
    module: str,
    preload: Sequence[str],
    environment: Mapping[str, str],
    *,
    control: socket.socket,
    output: int,
) -> int:
    """Start a module of ours with its socket, in a process group of its own; returns its id.

    Raises:
        OSError: The system has no room for another process.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", module, str(os.getpid()), *preload],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                (os.POSIX_SPAWN_DUP2, control.fileno(), CONTROL_DESCRIPTOR),
            ],
            setpgroup=0,
        )
    finally:
        os.close(nothing)
