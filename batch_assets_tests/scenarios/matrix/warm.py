"""A process that has imported Dagster once and forks a `dagster` command whenever it is asked.

Recoveries and repetitions are the same commands as the faulty runs, without three seconds of
imports each. Run as `python -m batch_assets_tests.scenarios.matrix.warm`: orders come as JSON
lines, and the answer to each is a line with exit status and peak memory.
"""

import importlib
import importlib.metadata
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

_PRELOADED = (
    *("batch_assets.definitions", "batch_assets.ingest.market.run"),
    *("pyarrow.compute", "pgpq", "psycopg", "psycopg2", "dagster_postgres"),
)

COMMAND_SECONDS = 300.0


class WarmDagster:
    """The process, seen from those who order commands."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock = threading.Lock()

    def run(
        self,
        arguments: list[str],
        folder: Path,
        environment: dict[str, str],
        log: Path,
        seconds: float = COMMAND_SECONDS,
    ) -> tuple[int, int]:
        """Run `dagster ARGUMENTS` to its end; returns exit status and peak bytes.

        A command that has not ended after so many seconds is killed, with its steps; its status is
        then that of a killed process.
        """
        order = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": environment,
            "log": str(log),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                self._kill_the_command()
            answer = self._process.stdout.readline()
        assert answer, "the warm process has ended"
        status, peak_bytes = json.loads(answer)
        return int(status), int(peak_bytes)

    def _kill_the_command(self) -> None:
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


@contextmanager
def warm_dagster() -> Iterator[WarmDagster]:
    """A warm process until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield WarmDagster(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def main() -> None:
    """Serve orders until standard input ends."""
    for name in _PRELOADED:
        importlib.import_module(name)
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="dagster")
    command = entry.load()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _execute(command, json.loads(line))
        _, status, usage = os.wait4(pid, 0)
        answer = [os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _execute(command: Any, order: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path.insert(0, order["environment"]["PYTHONPATH"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.argv = ["dagster", *order["arguments"]]
    status = 1
    try:
        command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads of a pool that nobody joins would otherwise keep it.
        os._exit(status)


if __name__ == "__main__":
    main()
