"""Database, webserver, daemon and code server as one thing that starts, answers and stops.

`running_stack` is the door for everyone who needs Dagster running: `batch-assets up`, the
demonstration and the tests. The processes are described in stack.py, found and ended by
processes.py; keeper.py ends them when the starter itself dies.
"""

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from batch_assets.errors import ConfigurationError
from batch_assets.ops.dagster_home import write_instance_file
from batch_assets.ops.processes import MARK, stop_marked
from batch_assets.ops.readiness import usable_port
from batch_assets.ops.stack import LOOPBACK, RunningStack
from batch_assets.postgres.connect import connect, database_url
from batch_assets.postgres.migrate import apply_pending
from batch_assets.runs.leftovers import may_need_repair
from batch_assets.settings import Settings, child_environment

DEFAULT_MODULE = "batch_assets.definitions"

# A run that is stopped rolls its transaction back and tells Dagster; then it is killed.
STOP_GRACE_SECONDS = 15.0


@contextmanager
def running_stack(
    settings: Settings,
    *,
    port: int = 0,
    host: str = LOOPBACK,
    module: str = DEFAULT_MODULE,
    with_daemon: bool = True,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[RunningStack]:
    """Start Dagster for these settings, yield when it answers, stop all of it at the end.

    Args:
        settings: Passed on to every process through its environment.
        port: Of the webserver; 0 takes a free one.
        host: Of the webserver, which has no login: keep it on loopback.
        module: Module with the Dagster definitions.
        with_daemon: False leaves it to the caller to call `start_daemon` later.
        stop: Set by somebody else (a signal handler) to give up while starting.
        tell: Called with one line for each step, for a person.

    Raises:
        ConfigurationError: The port is taken, or another stack runs on this state folder.
        InfrastructureError: A process ended or did not answer in time; its last lines are notes.
        KeyboardInterrupt: `stop` was set before the stack was ready.
    """
    with _only_one(settings.state_dir):
        port = usable_port(host, port)
        tell("database")
        apply_pending(database_url(settings))
        home = write_instance_file(settings)
        stack_id = uuid.uuid4().hex
        stack = RunningStack(
            host=host,
            port=port,
            home=home,
            log_dir=settings.state_dir / "logs",
            environment=child_environment(
                settings,
                **{MARK: stack_id, "DAGSTER_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            ),
            stop=stop or threading.Event(),
        )
        with _kept(stack, stack_id):
            if _may_need_repair(settings):
                tell("repair of what the last stop left behind")
                if not stack.repair_runs():
                    tell(f"without repair: it failed, see {stack.log_dir / 'repair.log'}")
            tell("code server")
            stack.start_code_server(module)
            tell("webserver and daemon")
            stack.start_webserver()
            if with_daemon:
                stack.start_daemon()
            stack.wait_for_webserver()
            yield stack


def _may_need_repair(settings: Settings) -> bool:
    url = database_url(settings)
    with closing(connect(url, application_name="batch_assets up")) as conn:
        return may_need_repair(conn)


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
