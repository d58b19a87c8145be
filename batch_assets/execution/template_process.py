"""How the host gets workers: forks of a template where there can be one, else new processes.

What the template does is in template.py, one worker as such in worker_process.py.
"""

import os
import selectors
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from batch_assets.execution.descendants import MARK
from batch_assets.execution.framing import MessageReader, encode_message
from batch_assets.execution.template import READY
from batch_assets.execution.worker_process import (
    Channels,
    WorkerProcess,
    start_module,
    start_worker,
)

_RECEIVE_BYTES = 4096

# So many templates or forks in a row that ended before a worker was ready: new processes instead,
# which tell why.
_FAILURES_ALLOWED = 20


class WorkerStarter:
    """Starts workers of one host.

    Attributes:
        template_pid: 0 while there is none.
        template_mark: In the environment of the template, and of a fork until it has its own.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        preload: Sequence[str],
        mark: str,
        selector: selectors.BaseSelector,
    ) -> None:
        self.template_pid = 0
        self.template_mark = _mark(mark, 0)
        self._environment = environment
        self._preload = preload
        self._mark = mark
        self._selector = selector
        self._link: socket.socket | None = None
        self._reader = MessageReader()
        self._is_ready = False
        self._can_fork = True
        self._failures = 0
        self._started = 0

    def start(self) -> WorkerProcess | None:
        """Begin a worker; None while the template is not ready.

        A forked one has no process id before its first message.

        Raises:
            OSError: The system has no room for another process.
        """
        if self._can_fork and self._link is None:
            self._start_template()
        if self._can_fork and not self._is_ready:
            return None
        self._started += 1
        mark = _mark(self._mark, self._started)
        if not self._can_fork:
            return start_worker(self._environment, self._preload, mark)
        return self._fork(mark)

    def note_ready(self) -> None:
        """A worker is ready: whatever failed before was not the template's fault."""
        self._failures = 0

    def note_failure(self) -> None:
        """A fork has ended before it was ready."""
        self._failures += 1
        if self._failures >= _FAILURES_ALLOWED:
            self._can_fork = False

    def end(self) -> None:
        """End the template."""
        if self._link is None:
            return
        self._selector.unregister(self._link)
        self._link.close()
        self._link = None
        with suppress(ProcessLookupError):
            os.kill(self.template_pid, signal.SIGKILL)
        # The end of one that lives is noticed with those of the workers. That of a dead one may
        # have been told already: a fork that was just born holds its link open a moment longer.
        with suppress(ChildProcessError):
            os.waitpid(self.template_pid, os.WNOHANG)
        self.template_pid = 0
        self._is_ready = False

    def _start_template(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.template_pid = start_module(
                    "batch_assets.execution.template",
                    self._preload,
                    {**self._environment, MARK: self.template_mark},
                    control=theirs,
                    # What it says belongs to the log of the host.
                    output=2,
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self._link, self._reader = ours, MessageReader()
        self._selector.register(ours, selectors.EVENT_READ, self._read_template)

    def _read_template(self) -> None:
        assert self._link is not None  # noqa: S101 - for the type checker
        try:
            received = self._link.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        for (word,) in self._reader.feed(received):
            # The other word is that it has threads, which no fork would have.
            self._is_ready = self._can_fork = word == READY
        if received and self._can_fork:
            return
        if not self._is_ready:
            # It cannot even import what workers need: each of them tells why.
            self._can_fork = False
        self.note_failure()
        self.end()

    def _fork(self, mark: str) -> WorkerProcess | None:
        assert self._link is not None  # noqa: S101 - for the type checker
        channels = Channels.open()
        try:
            socket.send_fds(
                self._link,
                [b"!", encode_message(mark)],
                [channels.their_control.fileno(), channels.their_output],
            )
        except OSError:
            # Gone, or stopped by somebody: another one takes its place.
            channels.close_ours()
            self.note_failure()
            self.end()
            return None
        finally:
            channels.close_theirs()
        return WorkerProcess(0, mark, channels.control, channels.output)


def _mark(mark: str, number: int) -> str:
    # All of one length: a fork writes its own over that of the template.
    return f"{mark}.{number:08d}"
