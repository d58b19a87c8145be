"""Webserver, daemon and code server as one thing that starts, answers and stops.

`running_stack` is the door for everyone who needs Dagster running: `batch-assets up`, the
demonstration and the tests. Finding and ending processes is in processes.py; what happens when
the starter itself dies is in keeper.py.
"""

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from batch_assets.errors import ConfigurationError, InfrastructureError, WebserverUnavailable
from batch_assets.ops.dagster_home import (
    LOCATION_NAME,
    write_instance_file,
    write_workspace_file,
)
from batch_assets.ops.processes import MARK, stop_marked
from batch_assets.postgres.connect import database_url
from batch_assets.postgres.migrate import apply_pending
from batch_assets.runs.console import console_command
from batch_assets.runs.graphql import describe_refusal, post_query
from batch_assets.settings import Settings, child_environment

DEFAULT_HOST = "127.0.0.1"
DEFAULT_MODULE = "batch_assets.definitions"

# Cold start on two loaded cores took up to 30 s; a minute more than that means it never comes.
READY_DEADLINE_SECONDS = 180.0
# A run that is stopped rolls its transaction back and tells Dagster; then it is killed.
STOP_GRACE_SECONDS = 15.0
_POLL_SECONDS = 0.2
_LOG_TAIL_LINES = 15

_LOCATION_QUERY = """
query Locations {
  workspaceOrError {
    __typename
    ... on Workspace {
      locationEntries {
        name
        loadStatus
        locationOrLoadError { __typename ... on PythonError { message } }
      }
    }
    ... on PythonError { message }
  }
}
"""


@dataclass(slots=True)
class RunningStack:
    """A started stack.

    Attributes:
        webserver_url: Where the UI and GraphQL answer.
        home: DAGSTER_HOME of its processes.
        log_dir: One log file per process.
        processes: Name to process, in the order they were started.
    """

    webserver_url: str
    home: Path
    log_dir: Path
    environment: dict[str, str] = field(repr=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def check_alive(self) -> None:
        """Raise InfrastructureError if one of the processes has ended."""
        for name, process in self.processes.items():
            if (status := process.poll()) is not None:
                log = self.log_dir / f"{name}.log"
                error = InfrastructureError(
                    f"{name} ended with status {status}, expected it to run; "
                    f"read {log}, whose last lines follow, then start again"
                )
                error.add_note(_tail(log))
                raise error

    def wait_until(self, stop: threading.Event) -> None:
        """Block until `stop` is set; raise InfrastructureError if a process ends before."""
        while not stop.wait(_POLL_SECONDS):
            self.check_alive()


@contextmanager
def running_stack(
    settings: Settings,
    *,
    port: int = 0,
    host: str = DEFAULT_HOST,
    module: str = DEFAULT_MODULE,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[RunningStack]:
    """Start Dagster for these settings, yield when it answers, stop all of it at the end.

    Args:
        settings: Passed on to every process through its environment.
        port: Of the webserver; 0 takes a free one.
        host: Of the webserver, which has no login: keep it on loopback.
        module: Module with the Dagster definitions.
        stop: Set by somebody else (a signal handler) to give up while starting.
        tell: Called with one line for each step, for a person.

    Raises:
        ConfigurationError: The port is taken, or another stack runs on this state folder.
        InfrastructureError: A process ended or did not answer in time; carries its last lines.
        KeyboardInterrupt: `stop` was set before the stack was ready.
    """
    stop = stop or threading.Event()
    with _only_one(settings.state_dir):
        url = f"http://{host}:{_usable_port(host, port)}"
        tell("database")
        apply_pending(database_url(settings))
        code_server_port = _usable_port(DEFAULT_HOST, 0)
        stack_id = uuid.uuid4().hex
        home = write_instance_file(settings)
        write_workspace_file(home, host=DEFAULT_HOST, port=code_server_port)
        stack = RunningStack(
            webserver_url=url,
            home=home,
            log_dir=settings.state_dir / "logs",
            environment=child_environment(
                settings,
                **{MARK: stack_id, "DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            ),
        )
        with _kept(stack, stack_id):
            _start_all(stack, module, code_server_port, stop, tell)
            yield stack


def _start_all(
    stack: RunningStack,
    module: str,
    code_server_port: int,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    host, _, port = stack.webserver_url.removeprefix("http://").rpartition(":")
    workspace = str(stack.home / "workspace.yaml")
    tell("code server")
    # A server of its own: webserver and daemon would start one each, and the daemon a fresh one
    # every minute.
    _start(
        stack,
        "code-server",
        [
            *console_command("dagster", "api", "grpc", "--module-name", module),
            *("--host", DEFAULT_HOST, "--port", str(code_server_port)),
            *("--location-name", LOCATION_NAME),
            # Steps are then started with this interpreter, not with the `dagster` found on PATH.
            "--use-python-environment-entry-point",
        ],
    )
    address = (DEFAULT_HOST, code_server_port)
    _wait_for(stack, stop, "code server", lambda: _listens(address))
    tell("webserver and daemon")
    _start(
        stack,
        "webserver",
        console_command("dagster-webserver", "-h", host, "-p", port, "-w", workspace),
    )
    _start(stack, "daemon", console_command("dagster-daemon", "run", "-w", workspace))
    _wait_for(stack, stop, "webserver", lambda: _location_is_loaded(stack.webserver_url))


def _start(stack: RunningStack, name: str, command: list[str]) -> None:
    stack.log_dir.mkdir(parents=True, exist_ok=True)
    log = stack.log_dir / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    with log.open("wb") as output:
        stack.processes[name] = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches a whole foreground group; only we decide in which order things end.
            start_new_session=True,
        )


def _wait_for(
    stack: RunningStack, stop: threading.Event, what: str, is_ready: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + READY_DEADLINE_SECONDS
    while not is_ready():
        stack.check_alive()
        if stop.wait(_POLL_SECONDS):
            raise KeyboardInterrupt(f"stopped while waiting for the {what}")
        if time.monotonic() > deadline:
            raise InfrastructureError(
                f"the {what} did not answer for {READY_DEADLINE_SECONDS:.0f} s, expected it "
                f"within 30 s; read the logs in {stack.log_dir}, then start again"
            )


def _listens(address: tuple[str, int]) -> bool:
    # The code server binds its port after it has loaded the definitions.
    try:
        socket.create_connection(address, timeout=_POLL_SECONDS).close()
    except OSError:
        return False
    return True


def _location_is_loaded(webserver_url: str) -> bool:
    try:
        answer = post_query(webserver_url, _LOCATION_QUERY, timeout_seconds=10)["workspaceOrError"]
    except WebserverUnavailable:
        return False
    if answer["__typename"] != "Workspace":
        raise InfrastructureError(f"the webserver has no workspace: {describe_refusal(answer)}")
    for entry in answer["locationEntries"]:
        loaded = entry["locationOrLoadError"] or {}
        if loaded.get("__typename") == "PythonError":
            raise InfrastructureError(
                f"code location '{entry['name']}' does not load: {loaded['message']}"
            )
    return bool(answer["locationEntries"]) and all(
        entry["loadStatus"] == "LOADED" for entry in answer["locationEntries"]
    )


@contextmanager
def _kept(stack: RunningStack, stack_id: str) -> Iterator[None]:
    """Stop every process of the stack at the end, also when this process is killed."""
    environment = {name: value for name, value in stack.environment.items() if name != MARK}
    keeper = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "batch_assets.ops.keeper", stack_id, str(STOP_GRACE_SECONDS)],
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        stop_marked(stack_id, grace_seconds=STOP_GRACE_SECONDS)
        for process in stack.processes.values():
            process.wait()
        if keeper.stdin is not None:
            keeper.stdin.close()
        keeper.wait()


@contextmanager
def _only_one(state_dir: Path) -> Iterator[None]:
    """Refuse a second stack on one state folder: two daemons would do everything twice."""
    state_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state_dir / "up.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"another `batch-assets up` runs on {state_dir}, expected none; stop it, or set "
            "BATCH_ASSETS_HOME to another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _usable_port(host: str, port: int) -> int:
    """`port` if it can be bound, a free one for 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the webserver itself binds: a listener refuses us, connections that just ended do not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host} cannot be used: {error.strerror}; expected a free one; "
                "choose another with --port"
            ) from error
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])
