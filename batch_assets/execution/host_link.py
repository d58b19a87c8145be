"""The client's side of the link to the host: one thread that owns the host process.

Callers hand orders over and never wait; a host that dies is started again, and the tasks that were
in its workers count as crashed once. What callers see is in isolation.py.
"""

import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path

from batch_assets.errors import WorkersUnavailable
from batch_assets.execution.descendants import MARK, list_marked
from batch_assets.execution.framing import Message, MessageReader, encode_message
from batch_assets.execution.orders import Arrival, Order
from batch_assets.execution.pool_statistics import StatisticsFile
from batch_assets.execution.spool import Packed, discard
from batch_assets.execution.tasks import TaskOutcome, TaskResult, WorkerStatistics
from batch_assets.execution.workforce import MAX_ATTEMPTS, WorkPlan
from batch_assets.settings import inherited_environment

_RECEIVE_BYTES = 1024 * 1024
_LOG_NAME = "host.log"
_LOG_CHARACTERS = 1_000

# A host has nothing that can fail; so many deaths without one finished task are somebody's doing.
_HOST_DEATHS_ALLOWED = 5
# After its own deadline the host still has to end its workers.
_HOST_END_SECONDS = 10.0


class HostLink:
    """Owns the host process and every order until it has ended."""

    def __init__(
        self,
        *,
        workers: int,
        spare_workers: int,
        tasks_per_worker: int,
        folder: Path,
        preload: tuple[str, ...],
    ) -> None:
        environment = inherited_environment(
            # Workers must find the modules that this process finds.
            PYTHONPATH=os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        )
        self._plan = WorkPlan(
            workers=workers,
            spare_workers=spare_workers,
            tasks_per_worker=tasks_per_worker,
            folder=str(folder),
            preload=preload,
            environment=environment,
            mark=secrets.token_hex(8),
        )
        self._log = folder / _LOG_NAME
        self._statistics_file = StatisticsFile(folder, lambda: self.statistics)
        self._orders: dict[int, Order] = {}
        self._inbox: deque[tuple[object, ...]] = deque()
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unsent = bytearray()
        self._reader = MessageReader()
        self._selector = selectors.DefaultSelector()
        self._host_deaths = 0
        self._reason = "the workers were stopped before the task had ended"
        self._statistics = WorkerStatistics(workers, 0, 0, 0, 0, 0, 0)
        self._earlier_restarts = 0
        self._thread = threading.Thread(target=self._run, name="isolated-workers", daemon=True)

    def start(self) -> None:
        """Start the host; returns at once."""
        self._thread.start()

    def submit(self, order: Order) -> None:
        """Hand an order over.

        Raises:
            WorkersUnavailable: The workers have been stopped or cannot be started.
        """
        self._post("submit", order)

    def cancel(self, number: int) -> None:
        """Forget an order; its `on_end` is not called any more."""
        with suppress(WorkersUnavailable):
            self._post("cancel", number)

    def stop(self, seconds: float) -> None:
        """Let running tasks end for so long, then end everything and wait for it."""
        with suppress(WorkersUnavailable):
            self._post("stop", seconds)
        self._thread.join(seconds + _HOST_END_SECONDS)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    @property
    def statistics(self) -> WorkerStatistics:
        """What has been done, and is being done now."""
        orders = list(self._orders.values())
        active = sum(order.is_running for order in orders)
        waiting = sum(message[0] == "submit" for message in list(self._inbox))
        return replace(self._statistics, active=active, queued=len(orders) - active + waiting)

    def _post(self, *message: object) -> None:
        with self._lock:
            if self._is_closed:
                raise WorkersUnavailable(
                    f"no task can be given to the workers: {self._reason}; expected an open pool; "
                    "open another one"
                )
            self._inbox.append(message)
        # Full means that a wake-up is waiting already.
        with suppress(BlockingIOError):
            self._wake_writer.send(b"1")

    def _run(self) -> None:
        try:
            self._selector.register(self._wake_reader, selectors.EVENT_READ)
            self._start_host()
            while self._socket is not None:
                self._turn()
        except OSError as error:
            self._reason = f"the host of the workers cannot be started: {error}"
        finally:
            self._close()

    def _turn(self) -> None:
        self._read_inbox()
        self._write()
        for key, _ in self._selector.select(self._statistics_file.write_if_due()):
            if key.fileobj is self._wake_reader:
                with suppress(BlockingIOError):
                    self._wake_reader.recv(4096)
            elif not self._read():
                self._bury_host()

    def _start_host(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, self._log.open("ab") as log:
            # From this thread: the kernel ends the host when the thread that started it is gone.
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "batch_assets.execution.host",
                    str(os.getpid()),
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._plan.environment, MARK: f"{self._plan.mark}.0"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        self._reader = MessageReader()
        self._unsent = bytearray(encode_message(*astuple(self._plan)))
        ours.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ)

    def _read_inbox(self) -> None:
        while self._inbox:
            kind, what = self._inbox.popleft()
            if isinstance(what, Order):
                self._orders[what.number] = what
                self._send(what)
            elif kind == "cancel" and isinstance(what, int):
                order = self._orders.pop(what, None)
                if order is not None:
                    self._unsent += encode_message("cancel", what)
                    self._remove_files(order)
            elif kind == "stop":
                self._is_stopping = True
                self._unsent += encode_message("stop", what)

    def _send(self, order: Order) -> None:
        task, argument = order.task, order.argument
        self._unsent += encode_message(
            "task",
            order.number,
            (task.function, argument.inline, argument.file, task.is_spread),
            float(task.limits.timeout_seconds),
            task.limits.memory_bytes,
            order.attempts,
        )

    def _write(self) -> None:
        assert self._socket is not None  # noqa: S101 - for the type checker
        wanted = selectors.EVENT_READ
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            wanted |= selectors.EVENT_WRITE
        except OSError:
            # The host is gone; reading tells so as well, and what is lost is sent again.
            self._unsent.clear()
        if self._selector.get_key(self._socket).events != wanted:
            self._selector.modify(self._socket, wanted)

    def _read(self) -> bool:
        """Take what the host says; False once it is gone."""
        assert self._socket is not None  # noqa: S101 - for the type checker
        try:
            received = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            received = b""
        for message in self._reader.feed(received):
            self._hear(message)
        return bool(received)

    def _hear(self, message: Message) -> None:
        kind, what, *parts = message
        if kind == "started":
            if what in self._orders:
                self._orders[what].attempts += 1
                self._orders[what].is_running = True
        elif kind == "ended":
            self._host_deaths = 0
            self._end(what, *parts)
        elif kind == "broken":
            self._is_stopping = True
            self._reason = f"{what}; look at memory, process limits and the Python environment"

    def _end(
        self,
        number: int,
        attempts: int,
        restarts: int,
        outcome: str,
        error: str,
        details: str,
        inline: bytes | None,
        file: str | None,
        seconds: float,
        peak_bytes: int,
        exit_code: int | None,
        signal_number: int | None,
    ) -> None:
        self._statistics = replace(self._statistics, restarts=self._earlier_restarts + restarts)
        order = self._orders.pop(number, None)
        value = Packed(inline, file)
        if order is None:
            discard(value)
            return
        order.attempts = attempts
        result = TaskResult(
            task=order.task,
            outcome=TaskOutcome(outcome),
            error=error,
            details=details,
            seconds=seconds,
            peak_memory_bytes=peak_bytes,
            attempts=attempts,
            exit_code=exit_code,
            signal=signal_number,
        )
        is_ok = result.outcome is TaskOutcome.OK
        self._count(result)
        self._remove_files(order, keep=value.file)
        order.on_end(Arrival(number, result, value if is_ok else None))

    def _count(self, result: TaskResult) -> None:
        now = self._statistics
        is_ok = result.outcome is TaskOutcome.OK
        self._statistics = replace(
            now,
            done=now.done + is_ok,
            failed=now.failed + (not is_ok),
            peak_memory_bytes=max(now.peak_memory_bytes, result.peak_memory_bytes),
        )

    def _bury_host(self) -> None:
        """The host has ended: by our wish, or it is started again."""
        assert self._socket is not None  # noqa: S101 - for the type checker
        assert self._process is not None  # noqa: S101 - for the type checker
        self._selector.unregister(self._socket)
        self._socket.close()
        self._socket = None
        # It has closed its side and has nothing left to do.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_HOST_END_SECONDS)
        self._process.kill()
        self._process.wait()
        if self._is_stopping:
            return
        self._end_descendants()
        self._host_deaths += 1
        self._earlier_restarts = self._statistics.restarts + 1
        self._statistics = replace(self._statistics, restarts=self._earlier_restarts)
        if self._host_deaths > _HOST_DEATHS_ALLOWED:
            self._reason = (
                f"the host of the workers died {self._host_deaths} times in a row: "
                f"{self._last_log_lines() or 'it wrote nothing'}"
            )
            return
        self._start_host()
        for order in list(self._orders.values()):
            self._send_again(order)

    def _send_again(self, order: Order) -> None:
        if order.is_running and order.attempts >= MAX_ATTEMPTS:
            del self._orders[order.number]
            self._remove_files(order)
            result = TaskResult(
                task=order.task,
                outcome=TaskOutcome.CRASH,
                error="the process that keeps the workers died while the task was running",
                attempts=order.attempts,
            )
            self._count(result)
            order.on_end(Arrival(order.number, result))
            return
        order.is_running = False
        self._send(order)

    def _end_descendants(self) -> None:
        """End what a host left that could not do it itself."""
        for pid in list_marked(f"{self._plan.mark}."):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _remove_files(self, order: Order, keep: str | None = None) -> None:
        discard(order.argument)
        for attempt in range(1, order.attempts + 1):
            file = f"{self._plan.folder}/{order.number}-{attempt}.result"
            if file != keep:
                discard(Packed(None, file))

    def _last_log_lines(self) -> str:
        with suppress(OSError):
            return self._log.read_text(errors="replace").strip()[-_LOG_CHARACTERS:]
        return ""

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
        while self._inbox:
            _, what = self._inbox.popleft()
            if isinstance(what, Order):
                self._orders[what.number] = what
        self._end_descendants()
        for order in list(self._orders.values()):
            failure = WorkersUnavailable(
                f"{order.task.function}: {self._reason}; expected it to end; run it again"
            )
            result = TaskResult(task=order.task, outcome=TaskOutcome.ERROR, error=str(failure))
            order.on_end(Arrival(order.number, result, failure=failure))
        self._orders.clear()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
