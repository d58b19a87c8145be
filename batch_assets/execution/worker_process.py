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
        pid: Also the id of its process group.
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
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close both channels; a worker that lives ends by that."""
        self.control.close()
        os.close(self.output)


def start_worker(
    environment: Mapping[str, str], preload: Sequence[str], mark: str
) -> WorkerProcess:
    """Start a worker in a process group of its own.

    Raises:
        OSError: The system has no room for another process.
    """
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [
                sys.executable,
                "-P",
                "-m",
                "batch_assets.execution.worker",
                str(os.getpid()),
                *preload,
            ],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, writing, 2),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), CONTROL_DESCRIPTOR),
            ],
            setpgroup=0,
        )
    except OSError:
        ours.close()
        os.close(reading)
        raise
    finally:
        theirs.close()
        os.close(writing)
        os.close(nothing)
    ours.setblocking(False)
    os.set_blocking(reading, False)
    return WorkerProcess(pid, mark, ours, reading)
