"""Isolated workers: run functions in processes that can be killed one by one.

What a task does, hang, crash, eat memory, fork, write nonsense to its output, ends that task alone.
It is no jail: a task has the rights of this process. The processes behind it are in host.py and
worker.py, what a machine has room for in capacity.py.
"""

import itertools
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar

from batch_assets.errors import (
    ConfigurationError,
    IsolatedTaskFailed,
    TaskCrashed,
    TaskOutOfMemory,
    TaskTimedOut,
)
from batch_assets.execution.capacity import cpu_worker_count, read_capacity
from batch_assets.execution.host_link import HostLink
from batch_assets.execution.orders import Arrival, Order
from batch_assets.execution.spool import Packed, SpoolFolder, discard, pack, unpack
from batch_assets.execution.tasks import (
    Task,
    TaskLimits,
    TaskOutcome,
    TaskResult,
    WorkerStatistics,
)
from batch_assets.settings import Settings

__all__ = [
    "IsolatedWorkers",
    "Task",
    "TaskLimits",
    "TaskOutcome",
    "TaskResult",
    "WorkerStatistics",
    "function_name",
    "open_workers",
    "run_isolated",
]

SPOOL_NAME = "spool"

P = ParamSpec("P")
T = TypeVar("T")

# One in work and one waiting for each worker: no worker waits for this process.
_IN_FLIGHT_PER_WORKER = 2

_ERRORS: dict[TaskOutcome, type[IsolatedTaskFailed]] = {
    TaskOutcome.ERROR: IsolatedTaskFailed,
    TaskOutcome.TIMEOUT: TaskTimedOut,
    TaskOutcome.MEMORY: TaskOutOfMemory,
    TaskOutcome.CRASH: TaskCrashed,
}

_ADVICE = {
    TaskOutcome.ERROR: "correct the function or its argument",
    TaskOutcome.TIMEOUT: "give it more time or less to do",
    TaskOutcome.MEMORY: "give it more memory or less to do",
    TaskOutcome.CRASH: "look at its last output, and at the native code it uses",
}


class IsolatedWorkers:
    """A pool of worker processes; a context manager.

        with IsolatedWorkers(workers=2, spool_dir=folder) as workers:
            for result in workers.run(tasks):
                ...

    May be used from several threads. Leaving the block ends the processes: running tasks may end
    within `stop_seconds`, waiting ones are not begun; after an exception, at once.

    Attributes:
        folder: Of this pool, for files that tasks exchange with the caller; removed with it, also
            after a crash, at the latest when the next pool is opened.
    """

    folder: Path

    def __init__(
        self,
        *,
        workers: int,
        spool_dir: Path,
        tasks_per_worker: int = 200,
        spare_workers: int = 1,
        stop_seconds: float = 10.0,
        preload: Iterable[str] = (),
    ) -> None:
        """Describe a pool; nothing is started before the block is entered.

        Args:
            workers: Tasks at once.
            spool_dir: Where pools have their folders; made if it is missing.
            tasks_per_worker: After so many tasks a worker is replaced by a fresh one.
            spare_workers: Processes beyond `workers`, ready to take a lost one's place.
            stop_seconds: What running tasks get when the block is left.
            preload: Modules that workers import before their first task, best those of its
                functions: their memory is then not the task's, nor their time.

        Raises:
            ConfigurationError: A number is too small.
        """
        for name, value, least in (
            ("workers", workers, 1),
            ("tasks_per_worker", tasks_per_worker, 1),
            ("spare_workers", spare_workers, 0),
            ("stop_seconds", stop_seconds, 0),
        ):
            if value < least:
                raise ConfigurationError(f"{name} is {value}, expected at least {least}; raise it")
        self._workers = workers
        self._spool_dir = spool_dir
        self._tasks_per_worker = tasks_per_worker
        self._spare_workers = spare_workers
        self._stop_seconds = stop_seconds
        self._preload = tuple(preload)
        self._numbers = itertools.count(1)
        self._spool: SpoolFolder | None = None
        self._link: HostLink | None = None

    def __enter__(self) -> "IsolatedWorkers":
        self._spool = SpoolFolder(self._spool_dir)
        self.folder = self._spool.path
        self._link = HostLink(
            workers=self._workers,
            spare_workers=self._spare_workers,
            tasks_per_worker=self._tasks_per_worker,
            folder=self.folder,
            preload=self._preload,
        )
        self._link.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(0.0 if kind else self._stop_seconds)

    def close(self, stop_seconds: float = 0.0) -> None:
        """End the workers; a second call does nothing.

        Args:
            stop_seconds: What running tasks get to end.
        """
        try:
            if self._link is not None:
                self._link.stop(stop_seconds)
        finally:
            if self._spool is not None:
                self._spool.remove()
                self._spool = None

    def run(self, tasks: Iterable[Task], *, in_flight: int | None = None) -> Iterator[TaskResult]:
        """Run tasks, in no particular order.

        A task is taken from the iterable when there is room for it, so neither tasks nor results
        pile up. Closing the iterator early ends what was begun.

        Args:
            tasks: Consumed lazily, in the caller's thread.
            in_flight: Tasks begun or waiting at once; default: two for each worker.

        Yields:
            Each task's result as it ends, exactly one for each.

        Raises:
            WorkersUnavailable: No worker can be started, or the pool is closed.
        """
        limit = max(1, in_flight or self._workers * _IN_FLIGHT_PER_WORKER)
        arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        waiting: set[int] = set()
        source = iter(tasks)
        try:
            while True:
                for task in itertools.islice(source, limit - len(waiting)):
                    waiting.add(self._send(task, arrivals.put))
                if not waiting:
                    return
                arrival = arrivals.get()
                waiting.discard(arrival.number)
                yield _finish(arrival)
        finally:
            self._abandon(waiting, arrivals)

    def submit(self, task: Task) -> Future[TaskResult]:
        """Run one task; never waits, so it may be called from an event loop.

        Cancelling the future ends the task, also when it is running. The future raises only
        WorkersUnavailable; how the task ended is in its result.

        Raises:
            WorkersUnavailable: The pool is closed.
        """
        future: Future[TaskResult] = Future()

        def settle(arrival: Arrival) -> None:
            # The caller may cancel at any moment; the value is then nobody's.
            with suppress(InvalidStateError):
                if arrival.failure is not None:
                    future.set_exception(arrival.failure)
                else:
                    future.set_result(_finish(arrival))

        number = self._send(task, settle)

        def cancel(ended: Future[TaskResult]) -> None:
            if ended.cancelled():
                self._open_link().cancel(number)

        future.add_done_callback(cancel)
        return future

    def statistics(self) -> WorkerStatistics:
        """What the pool has done and does now; cheap, and true also after its end."""
        return self._open_link().statistics

    def _send(self, task: Task, on_end: Callable[[Arrival], None]) -> int:
        number = next(self._numbers)
        try:
            argument = pack(task.argument, self.folder / f"{number}.argument")
        except Exception as error:  # noqa: BLE001 - pickling runs code of the caller's classes
            result = TaskResult(
                task=task,
                outcome=TaskOutcome.ERROR,
                error=f"the argument cannot be sent to a worker: {type(error).__name__}: {error}; "
                f"it is {type(task.argument).__name__}, expected a value that can be pickled",
            )
            on_end(Arrival(number, result))
            return number
        try:
            self._open_link().submit(Order(number, task, argument, on_end))
        except BaseException:
            discard(argument)
            raise
        return number

    def _open_link(self) -> HostLink:
        if self._link is None:
            raise ConfigurationError(
                "the pool has not been entered; expected `with IsolatedWorkers(...) as workers:`"
            )
        return self._link

    def _abandon(self, numbers: set[int], arrivals: "queue.SimpleQueue[Arrival]") -> None:
        for number in numbers:
            self._open_link().cancel(number)
        with suppress(queue.Empty):
            while True:
                arrival = arrivals.get_nowait()
                if arrival.value is not None:
                    discard(arrival.value)


def open_workers(
    settings: Settings,
    *,
    preload: Iterable[str] = (),
    peak_bytes_per_worker: int | None = None,
) -> IsolatedWorkers:
    """Describe a pool as `[execution]` and this machine have it; enter it to start it.

    Args:
        settings: Their `[execution]` section and state folder are used.
        preload: Modules that workers import before their first task.
        peak_bytes_per_worker: What one worker needs; default: `worker_memory_bytes`.
    """
    execution = settings.execution
    return IsolatedWorkers(
        workers=cpu_worker_count(
            read_capacity(),
            peak_bytes_per_worker or execution.worker_memory_bytes,
            execution.cpu_workers,
        ),
        spool_dir=settings.state_dir / SPOOL_NAME,
        tasks_per_worker=execution.tasks_per_worker,
        spare_workers=execution.spare_workers,
        stop_seconds=execution.stop_seconds,
        preload=preload,
    )


def run_isolated(
    function: Callable[..., T],
    *args: object,
    timeout_seconds: float,
    memory_bytes: int,
    spool_dir: Path,
    workers: IsolatedWorkers | None = None,
) -> T:
    """Call a function in a process of its own and wait for what it returns.

    Args:
        function: Of a module that a new process can import; arguments and result are pickled.
        args: Its arguments.
        timeout_seconds: After these its process is ended.
        memory_bytes: What it may use on top of its imports.
        spool_dir: For large values.
        workers: A pool to use; without one a process is started for this call (about 0.1 s).

    Raises:
        IsolatedTaskFailed: It raised, or the function, an argument or the result cannot be moved
            between processes.
        TaskTimedOut: It was not done in time.
        TaskOutOfMemory: It wanted more memory than it was given.
        TaskCrashed: Its process died, and died again in a second attempt.
        WorkersUnavailable: No process can be started; trying again later can help.
    """
    limits = TaskLimits(timeout_seconds, memory_bytes)
    task = Task(function_name(function), args, limits, is_spread=True)
    if workers is not None:
        return _value(workers.submit(task).result())
    with IsolatedWorkers(workers=1, spare_workers=0, spool_dir=spool_dir) as own:
        return _value(own.submit(task).result())


def function_name(function: Callable[..., object]) -> str:
    """The name by which a worker finds a function: "package.module:function".

    Raises:
        ConfigurationError: A new process cannot import it.
    """
    module = getattr(function, "__module__", None)
    path = getattr(function, "__qualname__", "")
    if not module or module == "__main__" or not path or "<" in path:
        raise ConfigurationError(
            f"{function!r} cannot be run in another process; expected a function that a module "
            "other than the started script defines at its top level; move it to a module"
        )
    return f"{module}:{path}"


def _value(result: TaskResult) -> T:  # type: ignore[type-var]  # reason: the caller knows its function
    if result.outcome is TaskOutcome.OK:
        return result.value  # type: ignore[return-value]  # reason: as above
    raise _ERRORS[result.outcome](
        f"{result.task.function} ended with {result.outcome}: {result.error}; expected it to "
        f"return within {result.task.limits.timeout_seconds:g} s and "
        f"{result.task.limits.memory_bytes} bytes; {_ADVICE[result.outcome]}"
    )


def _finish(arrival: Arrival) -> TaskResult:
    """The result with its value.

    Raises:
        WorkersUnavailable: There is none.
    """
    if arrival.failure is not None:
        raise arrival.failure
    if arrival.value is None:
        return arrival.result
    return _with_value(arrival.result, arrival.value)


def _with_value(result: TaskResult, value: Packed) -> TaskResult:
    try:
        return replace(result, value=unpack(value))
    except Exception as error:  # noqa: BLE001 - unpickling runs code of the caller's classes
        return replace(
            result,
            outcome=TaskOutcome.ERROR,
            error=f"the result cannot be read: {type(error).__name__}: {error}; expected a value "
            "that this process can unpickle; return plain values",
        )
    finally:
        discard(value)
