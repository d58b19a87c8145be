"""The processes of a stack: how each is started, and whether all of them live.

When they are started and stopped is decided in up.py.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from batch_assets.errors import InfrastructureError
from batch_assets.ops.dagster_home import LOCATION_NAME, write_workspace_file
from batch_assets.ops.readiness import listens, usable_port, webserver_is_ready
from batch_assets.runs.console import console_command

LOOPBACK = "127.0.0.1"

# Cold start on two loaded cores took up to 30 s; what takes three minutes never comes.
READY_DEADLINE_SECONDS = 180.0
_POLL_SECONDS = 0.2
_LOG_TAIL_LINES = 15

# A process that somebody killed is started again; one that goes on dying needs a person.
_RESTARTS_ALLOWED = 5
_RESTARTS_WITHIN_SECONDS = 600.0

# Addresses a server may listen on that nobody can connect to by that name.
_WILDCARDS = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - the user's own choice of --host


@dataclass(slots=True)
class RunningStack:
    """A stack of Dagster processes that share one state folder.

    Attributes:
        host: Address the webserver listens on.
        port: Port the webserver listens on.
        home: DAGSTER_HOME of its processes.
        log_dir: One log file per process, and the one of the start before.
        environment: Environment of its processes.
        stop: Set by somebody else to give up while starting.
        processes: Name to process, in the order they were started.
        commands: How each was started.
        restarts: When processes were started again, on the monotonic clock, by name.
    """

    host: str
    port: int
    home: Path
    log_dir: Path
    environment: dict[str, str] = field(repr=False)
    stop: threading.Event = field(repr=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    @property
    def webserver_url(self) -> str:
        """Where the UI and GraphQL answer."""
        host = _WILDCARDS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def repair_runs(self) -> bool:
        """End runs that an earlier stack left behind when it was killed; False if that failed.

        In a process of its own: importing Dagster would cost this one 70 MB for as long as it
        lives.
        """
        command = [sys.executable, "-m", "batch_assets.ops.cli.main", "runs", "repair"]
        with self._new_log("repair").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for("repair", lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait()
        return process.returncode == 0

    def start_code_server(self, module: str) -> None:
        """Start the gRPC server of the definitions and wait until it has loaded them.

        A server of its own: webserver and daemon would start one each, and the daemon a fresh one
        every minute.
        """
        port = usable_port(LOOPBACK, 0)
        write_workspace_file(self.home, host=LOOPBACK, port=port)
        self._start(
            "code-server",
            *("dagster", "api", "grpc", "--module-name", module),
            *("--host", LOOPBACK, "--port", str(port), "--location-name", LOCATION_NAME),
            # Steps are then started with this interpreter, not with the `dagster` found on PATH.
            "--use-python-environment-entry-point",
        )
        self._wait_for("code server", lambda: listens(LOOPBACK, port))

    def start_webserver(self) -> None:
        """Start the webserver; `wait_for_webserver` says when it answers."""
        self._start(
            "webserver",
            *("dagster-webserver", "--host", self.host, "--port", str(self.port)),
            *("--workspace", str(self.home / "workspace.yaml")),
        )

    def wait_for_webserver(self) -> None:
        """Block until the webserver answers and shows the definitions."""
        self._wait_for("webserver", lambda: webserver_is_ready(self.webserver_url))

    def start_daemon(self) -> None:
        """Start the daemon: schedules, sensors, the run queue, backfills.

        It looks at backfills when it starts and every 30 seconds from then on, so a backfill
        launched before it starts begins 30 seconds earlier.
        """
        self._start("daemon", "dagster-daemon", "run", "-w", str(self.home / "workspace.yaml"))

    def check_alive(self) -> None:
        """Raise InfrastructureError if one of the processes has ended."""
        for name, process in self.processes.items():
            if (status := process.poll()) is not None:
                raise self._ended(name, status)

    def wait_for_stop(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Block until `stop` is set; a process that ends before is started again.

        What it was doing is in the database: runs go on without webserver and daemon, and the
        next daemon continues with what waits.

        Args:
            tell: Called with one line for each restart, for a person.

        Raises:
            InfrastructureError: A process goes on ending.
        """
        while not self.stop.wait(_POLL_SECONDS):
            for name, process in list(self.processes.items()):
                if (status := process.poll()) is not None:
                    self._revive(name, status)
                    tell(f"{name} ended with status {status} and was started again")

    def _revive(self, name: str, status: int) -> None:
        now = time.monotonic()
        recent = [at for at in self.restarts.get(name, []) if now - at < _RESTARTS_WITHIN_SECONDS]
        if len(recent) >= _RESTARTS_ALLOWED:
            raise self._ended(name, status, f" for the {len(recent) + 1}th time in ten minutes")
        self.restarts[name] = [*recent, now]
        self._start(name, *self.commands[name])

    def _ended(self, name: str, status: int, when: str = "") -> InfrastructureError:
        log = self.log_dir / f"{name}.log"
        error = InfrastructureError(
            f"{name} ended with status {status}{when}, expected it to run; "
            f"read {log}, whose last lines follow, then start again"
        )
        error.add_note(_tail(log))
        return error

    def _new_log(self, name: str) -> Path:
        """The log file of a process, after the one of the start before was put aside."""
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log = self.log_dir / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        return log

    def _start(self, name: str, *command: str) -> None:
        self.commands[name] = command
        with self._new_log(name).open("wb") as output:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own commands
                console_command(*command),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches a whole foreground group; we alone decide when these end.
                start_new_session=True,
            )

    def _wait_for(self, what: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_DEADLINE_SECONDS
        while not is_ready():
            self.check_alive()
            if self.stop.wait(_POLL_SECONDS):
                raise KeyboardInterrupt(f"stopped while waiting for the {what}")
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"the {what} did not answer for {READY_DEADLINE_SECONDS:.0f} s, expected it "
                    f"within 30 s; read the logs in {self.log_dir}, then start again"
                )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])
