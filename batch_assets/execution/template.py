"""The template: a process that has imported what workers need, and forks them.

Started by the host as `python -m batch_assets.execution.template`. A fresh worker then costs
milliseconds of processor time instead of the tenth of a second and more that imports take, which is
what decides how much a crash or a time limit costs the other tasks. It has one thread, no
connection and runs no task, so a fork of it is whole; modules that start threads on import are not
forked: the host is told, and starts each worker from nothing.

A worker's parent is the host, not this process: only the host waits for it and hears how it died.
"""

import ctypes
import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from batch_assets.execution import process_limits, worker
from batch_assets.execution.descendants import MARK
from batch_assets.execution.framing import encode_message, receive_message

READY, THREADED = "ready", "threaded"

_ENVIRONMENT_FIELDS = slice(47, 49)  # env_start and env_end of man 5 proc, counted behind the name


def main() -> None:
    """Serve the socket that the host left open, until it is closed."""
    host_pid, preload = int(sys.argv[1]), sys.argv[2:]
    if not process_limits.die_with_parent(host_pid, signal.SIGKILL):
        os._exit(0)
    worker.prepare_process(preload)
    link = socket.socket(fileno=worker.CONTROL_DESCRIPTOR)
    if not _is_single_threaded():
        link.sendall(encode_message(THREADED))
        os._exit(0)
    # What is there now is never garbage; not to be looked at keeps its pages shared.
    gc.collect()
    gc.freeze()
    link.sendall(encode_message(READY))
    while True:
        asked, descriptors, _, _ = socket.recv_fds(link, 1, 2)
        if not asked or len(descriptors) != 2:
            os._exit(0)
        message = receive_message(link)
        if message is None:
            os._exit(0)
        _fork_worker(host_pid, message[0], *descriptors)


def _is_single_threaded() -> bool:
    with suppress(OSError):
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    return False


def _fork_worker(host_pid: int, mark: str, control: int, output: int) -> None:
    """Fork twice: the child of a process that has ended is adopted by the host."""
    waiting, adopted = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            # The host sees the worker's channels close.
            os._exit(1)
        os.close(adopted)
        _become_worker(host_pid, mark, control, output, waiting)
    # Only now is the worker a child of the host; it waits for the word.
    os.waitpid(between, 0)
    for descriptor in (control, output, waiting):
        os.close(descriptor)
    with suppress(BrokenPipeError):
        os.write(adopted, b"1")
    os.close(adopted)


def _become_worker(host_pid: int, mark: str, control: int, output: int, waiting: int) -> NoReturn:
    try:
        if os.read(waiting, 1) and process_limits.die_with_parent(host_pid, signal.SIGKILL):
            os.close(waiting)
            os.setpgid(0, 0)
            _put_mark(mark)
            for target in (1, 2):
                os.dup2(output, target)
            # Takes the place of the template's own link.
            os.dup2(control, worker.CONTROL_DESCRIPTOR, inheritable=False)
            for descriptor in {control, output} - {1, 2, worker.CONTROL_DESCRIPTOR}:
                os.close(descriptor)
            worker.serve(socket.socket(fileno=worker.CONTROL_DESCRIPTOR))
    finally:
        # Not through the interpreter's own end: threads a parser left must not delay it.
        os._exit(0)


def _put_mark(mark: str) -> None:
    """Carry the worker's own mark, for what a task starts and for what it forks.

    Forks show the environment as it lies in memory since the template was started, so the mark is
    written over the template's there; both have the same length.
    """
    os.environ[MARK] = mark
    with suppress(OSError, ValueError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = map(int, fields[_ENVIRONMENT_FIELDS])
        environment = ctypes.string_at(start, end - start)
        # The first entry has no end of another one before it.
        place = (b"\0" + environment).index(f"\0{MARK}=".encode()) + len(f"{MARK}=")
        if environment.index(b"\0", place) - place == len(mark.encode()):
            ctypes.memmove(start + place, mark.encode(), len(mark.encode()))


if __name__ == "__main__":
    main()
