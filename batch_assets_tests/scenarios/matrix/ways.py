"""Ways of running: `dagster job execute`, or a range backfill that a daemon launches."""

import os
import subprocess
import sys
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

import psutil

from batch_assets.ops.readiness import listens
from batch_assets.ops.stack import LOOPBACK, RunningStack
from batch_assets.ops.up import running_stack
from batch_assets.runs.launch import launch_backfill
from batch_assets.runs.watch import BackfillProgress, BackfillState, watch_backfill
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix import quick_daemon
from batch_assets_tests.scenarios.matrix.planted import DAYS
from batch_assets_tests.scenarios.matrix.site import Command, Site

BACKFILL_SECONDS = 300.0
_DAYS = tuple(planted.day for planted in DAYS)
ASSET = ["market", "examples", "daily_bars"]
ENDS = {
    BackfillState.COMPLETED_SUCCESS: "SUCCESS",
    BackfillState.COMPLETED_FAILED: "FAILED",
    BackfillState.CANCELED: "CANCELED",
}


class Way(Protocol):
    """How the days of a scenario are run; one object for one scenario."""

    name: str
    site: Site

    @abstractmethod
    def start(self, *, failpoints: str = "", url: str = "") -> None:
        """Start the run that meets the fault.

        Args:
            url: The database, where it is reached through a proxy.
        """

    @abstractmethod
    def has_ended(self) -> bool:
        """Whether that run is over, well or not."""

    @abstractmethod
    def worker(self) -> psutil.Process:
        """The run's worker process: the parent of the step's, if that has one of its own."""

    @abstractmethod
    def recover(self) -> None:
        """Run all days again until they are loaded; fails where they cannot be."""

    def finish(self, seconds: float = BACKFILL_SECONDS) -> None:
        """Wait for the end of the run that meets the fault."""
        wait_until(self.has_ended, f"the end of the faulty {self.name}", seconds)


class JobExecute(Way):
    """`dagster job execute`, as CI does it."""

    name = "job execute"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.command: Command | None = None

    def start(self, *, failpoints: str = "", url: str = "") -> None:
        self.command = self.site.job_execute(failpoints=failpoints, url=url)

    def has_ended(self) -> bool:
        assert self.command is not None
        return self.command.has_ended()

    def said(self) -> str:
        """What the command has written so far."""
        assert self.command is not None
        return self.command.said

    def worker(self) -> psutil.Process:
        assert self.command is not None
        return psutil.Process(self.command.pid)

    def recover(self) -> None:
        self.site.load_everything()


class DaemonBackfill(Way):
    """A range backfill, launched over GraphQL and run by a daemon."""

    name = "daemon backfill"

    def __init__(self, site: Site, days: Sequence[str] = _DAYS) -> None:
        self.site = site
        self.days = days
        self.stack: RunningStack | None = None
        self.backfill_id = ""
        self._url = ""
        self._open = ExitStack()

    def start(self, *, failpoints: str = "", url: str = "") -> None:
        environment = self.site.environment(url, failpoints)
        settings = self.site.settings()
        with _environment(environment):
            self.stack = self._open.enter_context(
                running_stack(settings, module=self.site.module, with_daemon=False)
            )
        if url:
            # The code server and what it starts; the daemon's own work is Dagster's.
            self.stack.environment["BATCH_ASSETS_DATABASE_URL"] = url
            self.restart("code-server")
            wait_until(self._code_server_listens, "the code server listens again")
        self.backfill_id = self._launch()
        self._start_daemon()

    def _code_server_listens(self) -> bool:
        assert self.stack is not None
        command = self.stack.commands["code-server"]
        return listens(LOOPBACK, int(command[command.index("--port") + 1]))

    def _start_daemon(self) -> None:
        """The daemon, which looks at backfills more often than Dagster's own."""
        assert self.stack is not None
        with (self.stack.log_dir / f"daemon-{uuid.uuid4().hex[:8]}.log").open("wb") as output:
            self.stack.processes["daemon"] = subprocess.Popen(
                [sys.executable, "-m", quick_daemon.__name__, str(self.stack.home)],
                env=self.stack.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _launch(self) -> str:
        assert self.stack is not None
        return launch_backfill(
            self.stack.webserver_url,
            ASSET,
            self.days,
            tags={"batch_assets/feed": "examples"},
        )

    def look(self) -> BackfillProgress:
        """What Dagster says of the backfill."""
        assert self.stack is not None
        return next(watch_backfill(self.stack.webserver_url, self.backfill_id))

    def has_ended(self) -> bool:
        # Not over GraphQL: asked twenty times a second, the webserver would keep a core busy.
        ((status,),) = self.site.query(
            f"SELECT status FROM dagster.bulk_actions WHERE key = '{self.backfill_id}'"
        )
        return BackfillState(str(status)).is_final

    def worker(self) -> psutil.Process:
        (pid,) = self.site.query(
            "SELECT pid FROM ops.run_workers WHERE stage = 'working' ORDER BY recorded_at DESC "
            "LIMIT 1"
        )[0]
        return psutil.Process(int(str(pid)))

    def restart(self, name: str) -> None:
        """kill -9 of one process of the stack, then the same again."""
        assert self.stack is not None
        process = self.stack.processes[name]
        process.kill()
        process.wait()
        if name == "daemon":
            self._start_daemon()
        else:
            self.stack._start(name, *self.stack.commands[name])

    def kill_everything(self) -> None:
        """Daemon, webserver, code server, workers and steps at once; a stack of its own follows."""
        self.site.end_all()
        self._open.close()
        self.stack = None

    def recover(self) -> None:
        if self.stack is None:
            self.start()
        else:
            self.backfill_id = self._launch()
        self.finish()
        assert self.look().state is BackfillState.COMPLETED_SUCCESS, self.look()

    def close(self) -> None:
        """Stop the stack."""
        self._open.close()


@contextmanager
def opened_way(name: str, site: Site) -> Iterator[JobExecute | DaemonBackfill]:
    """The way of that name; a stack it started does not outlive the block."""
    if name == JobExecute.name:
        yield JobExecute(site)
        return
    daemon = DaemonBackfill(site)
    try:
        yield daemon
    finally:
        daemon.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Of this process, which a stack hands on to its own."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
