"""The workers of one host: who has which task, who is late, who has died, who comes next.

Whatever a worker does, answers, hangs or dies, ends exactly one task. Talking to the client is in
host.py; one worker as such is in worker_process.py.
"""

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from batch_assets.execution.deaths import judge_death
from batch_assets.execution.descendants import (
    end_orphans,
    has_orphans,
    list_orphans,
    read_kernel_kills,
)
from batch_assets.execution.framing import Message
from batch_assets.execution.tasks import TaskOutcome
from batch_assets.execution.template_process import WorkerStarter
from batch_assets.execution.worker_process import HostedTask, WorkerProcess

MAX_ATTEMPTS = 2

_OUTPUT_CHARACTERS = 4_000
_KERNEL_KILLS_AGE_SECONDS = 5.0
_END_SECONDS = 5.0
_END_POLL_SECONDS = 0.01

# So many workers in a row that died before they were ready: the next would, too.
_FAILED_STARTS_ALLOWED = 5


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """What the client wants.

    Attributes:
        workers: Tasks at once.
        spare_workers: Workers beyond that, ready to take the place of one that ended.
        tasks_per_worker: After so many a worker is replaced by a fresh one.
        folder: For large values.
        preload: Modules each worker imports before its first task.
        environment: Of the workers.
        mark: Begins the mark of everything that this host starts.
    """

    workers: int
    spare_workers: int
    tasks_per_worker: int
    folder: str
    preload: tuple[str, ...]
    environment: Mapping[str, str]
    mark: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt of a task ended.

    Attributes:
        outcome: For the caller.
        error: Type and message, or what became of the process.
        details: Traceback or last output.
        value: Pickled result: inline bytes, or the name of a file.
        seconds: The attempt took.
        peak_bytes: Resident memory of the worker.
        exit_code: Of a worker that ended by itself.
        signal: That ended the worker.
    """

    outcome: str
    error: str = ""
    details: str = ""
    value: tuple[bytes | None, str | None] = (None, None)
    seconds: float = 0.0
    peak_bytes: int = 0
    exit_code: int | None = None
    signal: int | None = None


class NoWorkers(Exception):
    """Workers cannot be started here; the message says what was seen."""


class Workforce:
    """Workers and the tasks that wait for them.

    Attributes:
        restarts: Workers replaced because they died or had to be ended.
        is_stopping: Whether waiting tasks and missing workers are left alone.
    """

    def __init__(
        self,
        plan: WorkPlan,
        selector: selectors.BaseSelector,
        *,
        tell_started: Callable[[HostedTask], None],
        tell_ended: Callable[[HostedTask, Ending], None],
    ) -> None:
        self.restarts = 0
        self.is_stopping = False
        self._plan = plan
        self._selector = selector
        self._tell_started = tell_started
        self._tell_ended = tell_ended
        self._starter = WorkerStarter(plan.environment, plan.preload, plan.mark, selector)
        self._workers: dict[int, WorkerProcess] = {}
        # Forks that have not told their process id yet, by mark.
        self._unborn: dict[str, WorkerProcess] = {}
        self._queue: deque[HostedTask] = deque()
        self._retries: deque[HostedTask] = deque()
        self._failed_starts = 0
        self._kernel_kills = read_kernel_kills()
        self._kernel_kills_read_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a task is being worked on."""
        return any(worker.running for worker in self._workers.values())

    @property
    def next_deadline(self) -> float | None:
        """When the next task is late, on the monotonic clock."""
        deadlines = (worker.deadline for worker in self._workers.values())
        return min((moment for moment in deadlines if moment is not None), default=None)

    def add(self, task: HostedTask) -> None:
        """Queue a task; one that was tried before waits for a fresh worker."""
        (self._retries if task.attempts else self._queue).append(task)

    def cancel(self, number: int) -> None:
        """Forget a task; the worker that has it is ended."""
        for waiting in (self._queue, self._retries):
            for task in waiting:
                if task.number == number:
                    waiting.remove(task)
                    return
        for worker in self._workers.values():
            if worker.running and worker.running.number == number:
                worker.running = None
                worker.kill()

    def start_missing(self) -> None:
        """Start workers until there are as many as planned, spares included.

        Raises:
            NoWorkers: The system has no room for another process.
        """
        if self.is_stopping:
            return
        living = sum(not worker.is_retired for worker in self._workers.values())
        missing = self._plan.workers + self._plan.spare_workers - living - len(self._unborn)
        for _ in range(missing):
            try:
                worker = self._starter.start()
            except OSError as error:
                raise NoWorkers(f"a worker process cannot be started: {error}") from error
            if worker is None:
                return
            if worker.pid:
                self._workers[worker.pid] = worker
            else:
                self._unborn[worker.mark] = worker
            for channel, act in (
                (worker.control, self._read_messages),
                (worker.output, self._read_output),
            ):
                self._selector.register(channel, selectors.EVENT_READ, partial(act, worker))

    def dispatch(self) -> None:
        """Give waiting tasks to idle workers."""
        if self.is_stopping or not (self._queue or self._retries):
            return
        self._note_kernel_kills()
        active = sum(worker.running is not None for worker in self._workers.values())
        idle = [worker for worker in self._workers.values() if worker.is_idle]
        # What crashed a worker is tried again in one that has done nothing yet; the others go to
        # used ones first, so that a fresh one is there for that.
        idle.sort(key=lambda worker: worker.tasks_done)
        while idle and active < self._plan.workers:
            if self._retries and idle[0].tasks_done == 0:
                self._give(idle.pop(0), self._retries.popleft())
            elif self._queue:
                self._give(idle.pop(), self._queue.popleft())
            else:
                return
            active += 1

    def end_late(self) -> None:
        """End the workers whose task has passed its deadline."""
        now = time.monotonic()
        for worker in self._workers.values():
            task, deadline = worker.running, worker.deadline
            if task is None or deadline is None or now < deadline:
                continue
            ending = Ending(
                TaskOutcome.TIMEOUT,
                f"not done within {task.timeout_seconds:g} s; its process was ended",
                _last_words(worker),
                seconds=now - worker.sent_at,
                peak_bytes=worker.read_peak_bytes(),
            )
            worker.running = None
            worker.kill()
            self.restarts += 1
            self._tell_ended(task, ending)

    def bury_dead(self) -> None:
        """Take note of the workers that have ended, and end what they left behind.

        Raises:
            NoWorkers: Workers die before they are ready, one after the other.
        """
        for worker in list(self._workers.values()):
            try:
                pid, status, usage = os.wait4(worker.pid, os.WNOHANG)
            except ChildProcessError:
                continue
            if not pid:
                continue
            self._read_messages(worker)  # its last words may be a result
            worker.read_output()
            self._forget(worker)
            self._judge(worker, status, usage.ru_maxrss * 1024)
        marks = {worker.mark for worker in self._workers.values()}
        if self._starter.template_pid:
            marks |= {self._starter.template_mark, *self._unborn}
        end_orphans(self._our_pids(), marks)

    def end_all(self) -> None:
        """End every process and wait for it, for a moment."""
        self.is_stopping = True
        self._starter.end()
        for worker in list(self._unborn.values()):
            self._forget_unborn(worker)
        for worker in self._workers.values():
            worker.running = None
            worker.kill()
        until = time.monotonic() + _END_SECONDS
        while (self._workers or list_orphans(())) and time.monotonic() < until:
            self.bury_dead()
            time.sleep(_END_POLL_SECONDS)

    def _read_output(self, worker: WorkerProcess) -> None:
        if not worker.read_output():
            self._selector.unregister(worker.output)

    def _read_messages(self, worker: WorkerProcess) -> None:
        for message in worker.read_messages():
            self._hear(worker, message)
        if worker.is_closed and not worker.is_retired:
            # It is dying, or a task has closed its channel: either way it is of no use any more.
            worker.kill()
        if worker.is_closed and worker.mark in self._unborn:
            self._starter.note_failure()
            self._forget_unborn(worker)
        elif worker.is_closed:
            with suppress(KeyError):
                self._selector.unregister(worker.control)

    def _hear(self, worker: WorkerProcess, message: Message) -> None:
        kind, *parts = message
        if kind == "ready":
            self._greet(worker, parts[0])
            return
        number, outcome, inline, file, error, details, peak_bytes, is_worn = parts
        task = worker.running
        if task is None or task.number != number:
            return  # late or cancelled; the client has answered for it
        worker.running = None
        worker.tasks_done += 1
        seconds = time.monotonic() - worker.sent_at
        self._tell_ended(
            task,
            Ending(outcome, error, details, (inline, file), seconds, peak_bytes),
        )
        # Children of the worker it knows itself; what has left them is handed to us.
        is_worn = is_worn or has_orphans(self._our_pids(), worker.mark)
        if is_worn or worker.tasks_done >= self._plan.tasks_per_worker:
            worker.kill()

    def _greet(self, worker: WorkerProcess, pid: int) -> None:
        worker.is_ready = True
        self._failed_starts = 0
        self._starter.note_ready()
        if self._unborn.pop(worker.mark, None) is not None:
            worker.pid = pid
            self._workers[pid] = worker

    def _our_pids(self) -> set[int]:
        return {*self._workers, self._starter.template_pid}

    def _give(self, worker: WorkerProcess, task: HostedTask) -> None:
        task.attempts += 1
        self._tell_started(task)
        if not worker.give(task, f"{self._plan.folder}/{task.number}-{task.attempts}.result"):
            # Dead already, most likely; counted as a crash, so that it cannot go on for ever.
            worker.kill()

    def _judge(self, worker: WorkerProcess, status: int, peak_bytes: int) -> None:
        task = worker.running
        if task is None:
            self._count_failed_start(worker)
            return
        self.restarts += 1
        death = judge_death(
            status,
            last_output=worker.last_output,
            peak_bytes=peak_bytes,
            limit_bytes=task.memory_bytes,
            has_kernel_killed=read_kernel_kills() > self._kernel_kills,
        )
        if death.outcome is TaskOutcome.CRASH and task.attempts < MAX_ATTEMPTS:
            self._retries.append(task)
            return
        self._tell_ended(
            task,
            Ending(
                death.outcome,
                death.error,
                _last_words(worker),
                seconds=time.monotonic() - worker.sent_at,
                peak_bytes=peak_bytes,
                exit_code=death.exit_code,
                signal=death.signal,
            ),
        )

    def _count_failed_start(self, worker: WorkerProcess) -> None:
        if worker.is_ready or self.is_stopping:
            return
        self._failed_starts += 1
        if self._failed_starts >= _FAILED_STARTS_ALLOWED:
            raise NoWorkers(
                f"{self._failed_starts} worker processes in a row ended before they were ready; "
                f"the last one wrote: {_last_words(worker).strip() or 'nothing'}"
            )

    def _note_kernel_kills(self) -> None:
        # Only what the kernel does from here on can be the end of a task given now.
        now = time.monotonic()
        if now - self._kernel_kills_read_at > _KERNEL_KILLS_AGE_SECONDS:
            self._kernel_kills, self._kernel_kills_read_at = read_kernel_kills(), now

    def _forget(self, worker: WorkerProcess) -> None:
        # What shares its process group ends with it. The id stays taken while one of them lives.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        del self._workers[worker.pid]
        self._close_channels(worker)

    def _forget_unborn(self, worker: WorkerProcess) -> None:
        # It ends by itself when its channels close, or never was.
        del self._unborn[worker.mark]
        self._close_channels(worker)

    def _close_channels(self, worker: WorkerProcess) -> None:
        for channel in (worker.control, worker.output):
            with suppress(KeyError):
                self._selector.unregister(channel)
        worker.close()


def _last_words(worker: WorkerProcess) -> str:
    return worker.last_output.decode(errors="replace")[-_OUTPUT_CHARACTERS:]
