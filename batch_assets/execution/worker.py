"""A worker: runs tasks one after another, until its socket is closed.

Forked by template.py, or started by the host as `python -m batch_assets.execution.worker`; imports
nothing heavy, and of the users' modules only those that hold the functions it is asked for. Its
standard output and error belong to the tasks; messages travel over a socket that they do not know.
"""

import faulthandler
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from batch_assets.execution import process_limits
from batch_assets.execution.framing import MessageReader, encode_message
from batch_assets.execution.spool import Packed, pack, unpack
from batch_assets.execution.tasks import TaskOutcome

CONTROL_DESCRIPTOR = 3

_RECEIVE_BYTES = 256 * 1024
# Some parsers put the whole file into their message.
_MESSAGE_CHARACTERS = 4_000
_DETAILS_CHARACTERS = 8_000


_NO_VALUE = Packed(None, None)


@dataclass(frozen=True, slots=True)
class _Order:
    """One task as it arrives."""

    number: int
    function: str
    argument: Packed
    is_spread: bool
    memory_bytes: int
    result_file: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """One task as it ended."""

    outcome: TaskOutcome
    value: Packed = _NO_VALUE
    error: str = ""
    details: str = ""


class _Refused(Exception):
    """The task could not be started; the message says why."""


def main() -> None:
    """Serve the socket that the host left open."""
    parent_pid, preload = int(sys.argv[1]), sys.argv[2:]
    if not process_limits.die_with_parent(parent_pid, signal.SIGKILL):
        os._exit(0)
    prepare_process(preload)
    serve(socket.socket(fileno=CONTROL_DESCRIPTOR))
    # Not through the interpreter's own end: threads a parser left must not delay it.
    os._exit(0)


def prepare_process(preload: Iterable[str]) -> None:
    """Set up the calling process for tasks, and import modules for them."""
    process_limits.forbid_core_files()
    process_limits.offer_to_kernel()
    # Tells in which line of Python a parser written in C died.
    faulthandler.enable()
    # Not inherited by what a task starts: only this process can speak for it.
    os.set_inheritable(CONTROL_DESCRIPTOR, False)
    for module in preload:
        # A task that needs it will say why it cannot be imported.
        with suppress(Exception):
            importlib.import_module(module)


def serve(control: socket.socket) -> None:
    """Run one task after another, until the socket is closed."""
    first_resident_bytes = process_limits.resident_bytes()
    control.sendall(encode_message("ready", os.getpid()))
    reader = MessageReader()
    while received := control.recv(_RECEIVE_BYTES):
        for number, function, inline, file, is_spread, memory_bytes, result_file in reader.feed(
            received
        ):
            order = _Order(
                number, function, Packed(inline, file), is_spread, memory_bytes, result_file
            )
            with suppress(_Refused):
                # Threads that its module starts are the module's, and are not left by the task.
                _find(order.function)
            threads_before = _thread_count()
            process_limits.reset_peak()
            answer = _run(order)
            grown_bytes = process_limits.resident_bytes() - first_resident_bytes
            is_worn = grown_bytes > memory_bytes // 2 or _has_leftovers(threads_before)
            _flush_output()
            control.sendall(
                encode_message(
                    "done",
                    number,
                    str(answer.outcome),
                    answer.value.inline,
                    answer.value.file,
                    answer.error,
                    answer.details,
                    process_limits.peak_resident_bytes(),
                    is_worn,
                )
            )


def _run(order: _Order) -> _Answer:
    """Run one task; whatever it raises is its answer."""
    try:
        function = _find(order.function)
        argument = _unpack_argument(order)
        process_limits.limit_memory(order.memory_bytes)
        try:
            value = function(*argument) if order.is_spread else function(argument)  # type: ignore[misc]
            # reason: a spread argument is a tuple, which only the caller knows
            return _Answer(TaskOutcome.OK, _pack_result(value, order))
        finally:
            process_limits.lift_memory_limit()
    except _Refused as refused:
        return _Answer(TaskOutcome.ERROR, error=str(refused))
    # SystemExit and KeyboardInterrupt too: a task that ends the interpreter fails, not the worker.
    except BaseException as error:  # noqa: BLE001 - the boundary of the process
        return _describe(error, order)


@lru_cache(maxsize=128)
def _find(function: str) -> Callable[..., object]:
    module_name, _, path = function.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
    except BaseException as error:
        raise _Refused(
            f"{function} cannot be imported: {_name(error)}; expected "
            "'package.module:function', importable in a new process; correct the name or the module"
        ) from error
    if not callable(found):
        raise _Refused(
            f"{function} is {type(found).__name__}, expected a function; correct the name"
        )
    return found  # type: ignore[no-any-return]  # reason: getattr knows no types


def _unpack_argument(order: _Order) -> object:
    try:
        return unpack(order.argument)
    except BaseException as error:
        raise _Refused(
            f"the argument of {order.function} cannot be read in the worker: {_name(error)}; "
            "expected a value that a new process can unpickle; pass plain values or paths"
        ) from error


def _pack_result(value: object, order: _Order) -> Packed:
    try:
        return pack(value, Path(order.result_file))
    except MemoryError:
        raise
    except Exception as error:
        raise _Refused(
            f"the result of {order.function} cannot be sent back: {_name(error)}; it is "
            f"{type(value).__name__}, expected a value that can be pickled; return plain values"
        ) from error


def _describe(error: BaseException, order: _Order) -> _Answer:
    if _is_about_memory(error):
        return _Answer(
            TaskOutcome.MEMORY,
            error=f"{_name(error)}: more than {order.memory_bytes} bytes were asked for",
        )
    details = "".join(traceback.format_exception(error))[-_DETAILS_CHARACTERS:]
    return _Answer(TaskOutcome.ERROR, error=_name(error), details=details)


def _is_about_memory(error: BaseException) -> bool:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, MemoryError):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False


def _name(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user that cannot even be shown
        message = "(no message: its own text fails)"
    if len(message) > _MESSAGE_CHARACTERS:
        message = f"{message[:_MESSAGE_CHARACTERS]} …"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _thread_count() -> int:
    threading = sys.modules.get("threading")
    return threading.active_count() if threading else 1


def _has_leftovers(threads_before: int) -> bool:
    """Whether the task left processes or threads behind; they end with this worker."""
    if _thread_count() > threads_before:
        return True
    with suppress(OSError):
        # The kernel lists children by the thread that started them.
        return any(
            (thread / "children").read_bytes() for thread in Path("/proc/self/task").iterdir()
        )
    return False


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A task may have closed or replaced them.
        with suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
