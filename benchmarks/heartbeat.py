"""How long a process keeps others waiting: beats every 10 ms, and the longest delay of one.

One beat is a plain thread of this process, one is in the event loop that serves the HTTP API, one
is in a process that does nothing else: what that one is late is the machine's doing.
"""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from batch_assets.ops.api.app import build_app
from batch_assets.settings import load_settings

_BEAT_SECONDS = 0.01
_START_SECONDS = 30.0
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Delays:
    """The longest delay of each beat so far, in milliseconds.

    Attributes:
        idle_process_ms: Over the whole time, whatever was counted.
        is_counted: Whether beats are looked at now.
    """

    thread_ms: float = 0.0
    event_loop_ms: float = 0.0
    idle_process_ms: float = 0.0
    is_counted: bool = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Look at the beats that begin and end while the body runs."""
        self.is_counted = True
        try:
            yield
        finally:
            self.is_counted = False

    def late_ms(self, before: float, *, was_counted: bool) -> float:
        """Delay of a beat that began then; 0 if it is not to be looked at."""
        if not (was_counted and self.is_counted):
            return 0.0
        return (time.perf_counter() - before - _BEAT_SECONDS) * 1000


@contextmanager
def beating(database_url: str, folder: Path) -> Iterator[Delays]:
    """Serve the API in a thread and beat beside it.

    Args:
        database_url: For the API.
        folder: Its project folder; made if it is missing.

    Yields:
        Delays that are written on while the body runs; that of the idle process at its end.
    """
    folder.mkdir(exist_ok=True)
    delays, stop, started = Delays(), threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=_beat, args=(delays, stop)),
        threading.Thread(target=_serve, args=(database_url, folder, delays, stop, started)),
    ]
    idle = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.heartbeat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    try:
        for thread in threads:
            thread.start()
        if not started.wait(_START_SECONDS):
            raise RuntimeError(f"the API did not listen within {_START_SECONDS:g} s; see above")
        yield delays
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        delays.idle_process_ms = float(idle.communicate()[0])


def _beat(delays: Delays, stop: threading.Event) -> None:
    while not stop.is_set():
        was_counted, before = delays.is_counted, time.perf_counter()
        time.sleep(_BEAT_SECONDS)
        late_ms = delays.late_ms(before, was_counted=was_counted)
        delays.thread_ms = max(delays.thread_ms, late_ms)


def _serve(
    database_url: str,
    folder: Path,
    delays: Delays,
    stop: threading.Event,
    started: threading.Event,
) -> None:
    import uvicorn

    environ = {"BATCH_ASSETS_DATABASE_URL": database_url}
    app = build_app(load_settings(environ, working_dir=folder), database_url)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))

    async def beat() -> None:
        while not stop.is_set():
            was_counted, before = delays.is_counted, time.perf_counter()
            await asyncio.sleep(_BEAT_SECONDS)
            late_ms = delays.late_ms(before, was_counted=was_counted)
            delays.event_loop_ms = max(delays.event_loop_ms, late_ms)
            if server.started:
                started.set()
        server.should_exit = True

    async def both() -> None:
        await asyncio.gather(server.serve(), beat())

    asyncio.run(both())


def main() -> None:
    """Beat until standard input ends; print the longest delay in milliseconds."""
    delays, stop = Delays(is_counted=True), threading.Event()
    thread = threading.Thread(target=_beat, args=(delays, stop))
    thread.start()
    sys.stdin.read()
    stop.set()
    thread.join()
    print(delays.thread_ms)


if __name__ == "__main__":
    main()
