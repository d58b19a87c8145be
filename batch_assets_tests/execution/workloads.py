"""Functions that tests run in workers: good ones, and every way to go wrong."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn


def double(number: int) -> int:
    return number * 2


def add(first: int, second: int = 0) -> int:
    return first + second


def pid(_: object = None) -> int:
    return os.getpid()


def parent(_: object = None) -> int:
    return os.getppid()


def echo(value: object) -> object:
    return value


def text_of(length: int) -> str:
    return "x" * length


def length_of(text: str) -> int:
    return len(text)


def fail(message: str) -> NoReturn:
    raise ValueError(message)


def leave(code: int) -> NoReturn:
    sys.exit(code)


def die(code: int) -> NoReturn:
    os._exit(code)


def kill_oneself(number: int) -> None:
    os.kill(os.getpid(), number)


def kill_group(_: object = None) -> None:
    os.kill(0, signal.SIGKILL)


def read_nowhere(_: object = None) -> None:
    ctypes.string_at(0)


def wait_for(file: str) -> str:
    """Ends when the file appears."""
    while not Path(file).exists():
        time.sleep(0.01)
    return "seen"


def hang(_: object = None) -> NoReturn:
    while True:
        pass


def hang_in_c(_: object = None) -> None:
    """Hold the interpreter's lock in C for ever: no handler of a signal can run."""
    ctypes.PyDLL(None).pause()


def take_memory(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def fill_memory(size_bytes: int) -> int:
    return len(b"x" * size_bytes)


def abort_like_rust(size_bytes: int) -> None:
    os.write(2, f"memory allocation of {size_bytes} bytes failed\n".encode())
    os.abort()


def crash_once(mark: str) -> str:
    """Die the first time, return the second."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return "second attempt"


def make_noise(size_bytes: int) -> str:
    line = b"\0\xff noise of a parser \n" * 1_000
    for _ in range(size_bytes // len(line)):
        os.write(1, line)
        os.write(2, line)
    print("and some text")  # noqa: T201
    return "done"


def return_lambda(_: object = None) -> object:
    return lambda: None


class Unreadable:
    """Can be pickled, and never unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (fail, ("cannot be read",))


def return_unreadable(_: object = None) -> object:
    return Unreadable()


def is_unreadable(_: Unreadable) -> bool:
    return True


def fork_and_hang(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    write_whole(pid_file, str(child.pid))
    hang()


def fork_and_wait(pid_file: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    write_whole(pid_file, str(child.pid))
    child.wait()


def leave_a_child(pid_file: str) -> str:
    child = subprocess.Popen(["sleep", "600"])
    write_whole(pid_file, str(child.pid))
    return "left"


def leave_a_thread(_: object = None) -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def fail_at_length(size: int) -> NoReturn:
    raise ValueError("x" * size)


def leave_a_daemon(pid_file: str) -> str:
    """A process in a session of its own whose parent is gone: a killed group does not hold it."""
    code = (
        "import subprocess as s; n = s.DEVNULL; "
        "print(s.Popen(['sleep', '600'], stdout=n, stderr=n, start_new_session=True).pid)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, check=True)
    write_whole(pid_file, done.stdout.decode().strip())
    return "left"


def kill_host(_: object = None) -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    hang()


def kill_host_once(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        kill_host()
    return "second attempt"


def close_everything(_: object = None) -> None:
    os.closerange(3, 64)


def write_whole(file: str, text: str) -> None:
    """So that a reader sees all of it or no file."""
    part = Path(f"{file}.part")
    part.write_text(text)
    part.rename(file)


def modules(_: object = None) -> list[str]:
    return sorted(sys.modules)


def fork_a_daemon(pid_file: str) -> str:
    """A process that was never anything but a fork, in a session of its own, its parent gone."""
    if between := os.fork():
        os.waitpid(between, 0)
        return "left"
    os.setsid()
    # Told by its parent, who is waited for: it may be ended before it could tell itself.
    if daemon := os.fork():
        write_whole(pid_file, str(daemon))
    else:
        time.sleep(600)
    os._exit(0)
