"""Faults of the server: restarts, refusals with its own error codes, a full disk."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix.site import Site
from batch_assets_tests.scenarios.matrix.warm import COMMAND_SECONDS
from batch_assets_tests.scenarios.matrix.ways import JobExecute
from batch_assets_tests.scenarios.matrix.world import World

# Room for what is there and a part of what comes; the tables' own files alone are on this disk.
SMALL_DISK = "size=512k"
LARGE_DISK = "size=64m"

# What the server says with SQLSTATE 53300 when its table of connections is full.
_FULL = "sorry, too many clients already"


def restarting(failpoint: str, how: signal.Signals) -> Callable[[World], None]:
    """P1: the server restarts while the step stands at a place."""

    def inject(world: World) -> None:
        world.way.start(failpoints=f"{failpoint}=stop")
        stopped = world.site.wait_for_stop()
        world.server.restart(how)
        wake(stopped)
        world.way.finish()

    return inject


def refusing(sqlstate: str) -> Callable[[World], None]:
    """P3: the server refuses the first write to the target with an error of its own."""

    def inject(world: World) -> None:
        _refuse_once(world.site, sqlstate)
        world.way.start()
        world.way.finish()
        assert world.site.value("SELECT last_value FROM fault_visits") > 1, "nothing was refused"
        _assert_no_budget_was_spent(world.site)

    return inject


def take_all_connections(world: World) -> None:
    """P3: nobody gets another connection until the run has been refused one."""
    assert isinstance(world.way, JobExecute)
    command = world.way
    world.way.start(failpoints="publish.before_lease=stop")
    stopped = world.site.wait_for_stop()
    with ExitStack() as taken:

        def take_the_rest() -> None:
            # What the run itself gives back is taken too.
            while (one := _connection(world)) is not None:
                taken.enter_context(one)

        def is_refused() -> bool:
            take_the_rest()
            return command.has_ended() or _FULL in command.said()

        take_the_rest()
        wake(stopped)
        wait_until(is_refused, "the run is refused a connection", COMMAND_SECONDS)
        assert _FULL in command.said(), "the run never asked for a connection"
    world.way.finish()
    _assert_no_budget_was_spent(world.site)


def _connection(world: World) -> psycopg.Connection | None:
    try:
        return psycopg.connect(world.server.databases.url)
    except psycopg.OperationalError as error:
        if _FULL not in str(error):
            raise
        return None


def _assert_no_budget_was_spent(site: Site) -> None:
    spent = site.query(
        "SELECT error_class, error_message FROM ops.loads WHERE state = 'failed' "
        "AND NOT coalesce(is_retryable, true) AND run_id IN "
        "(SELECT run_id FROM dagster.runs ORDER BY id DESC LIMIT 1)"
    )
    assert not spent, f"counted as an error of the data: {spent}"


def _refuse_once(site: Site, sqlstate: str) -> None:
    """A trigger fails at its first visit; a sequence remembers that through the rollback."""
    site.query("CREATE SEQUENCE fault_visits")
    site.query(
        "CREATE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('fault_visits') = 1 THEN RAISE EXCEPTION 'refused once' "
        f"USING ERRCODE = '{sqlstate}'; END IF; RETURN NULL; END $$"
    )
    site.query(
        "CREATE TRIGGER refuse_once BEFORE INSERT ON market.daily_bars "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_once()"
    )


def fill_the_disk(world: World) -> None:
    """D1: the disk of the target is full; then it is not any more."""
    # Outside of the state folder, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="matrix-disk-"))
    disk = world.resources.enter_context(_mounted(world, folder))
    world.way.start()
    world.way.finish()
    failures = world.site.query(
        "SELECT error_message FROM ops.loads WHERE state = 'failed' AND run_id IN "
        "(SELECT run_id FROM dagster.runs ORDER BY id DESC LIMIT 1)"
    )
    assert any("No space left" in str(message) for (message,) in failures), failures
    letters = world.site.value("SELECT count(*) FROM ops.dead_letters WHERE rule = 'refused'")
    assert letters == 0, "rows became dead letters because a disk was full"
    _mount(disk, f"remount,{LARGE_DISK}")


@contextmanager
def _mounted(world: World, folder: Path) -> Iterator[Path]:
    _mount(folder, SMALL_DISK)
    name = f"small_{world.site.family[:8]}"
    try:
        os.chown(folder, *world.server.user)
        folder.chmod(0o700)
        _admin(world, f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        world.site.query(f"ALTER TABLE market.daily_bars_2024 SET TABLESPACE {name}")
        yield folder
    finally:
        with suppress(psycopg.Error):
            _mount(folder, f"remount,{LARGE_DISK}")
        world.server.on_close(lambda: _unmount(world, folder, name))


def _unmount(world: World, folder: Path, name: str) -> None:
    _admin(world, f"DROP TABLESPACE IF EXISTS {name}")
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def _admin(world: World, statement: str) -> None:
    with psycopg.connect(world.server.databases.url, autocommit=True) as conn:
        conn.execute(statement.encode())


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def why_no_tmpfs() -> str:
    """Why a small disk cannot be made here; empty if it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "mounting a small tmpfs needs root"
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - a line of /proc
        (line,) = [line for line in status if line.startswith("CapEff:")]
    has_admin = int(line.split()[1], 16) >> 21 & 1
    return "" if has_admin else "mounting a small tmpfs needs CAP_SYS_ADMIN"


def wake(process: psutil.Process) -> None:
    """Let a stopped process go on, if it is there."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)


_REFUSALS = {
    "deadlock": "40P01",
    "serialization failure": "40001",
    "statement timeout": "57014",
    "too many connections": "53300",
    "read-only server": "25006",
}
CATALOGUE: tuple[dict[str, Any], ...] = (
    {
        "name": "restart fast mid COPY",
        "code": "P1",
        "injected": "fast shutdown (SIGINT) while the step is in COPY, and a start",
        "must_hold": "it is tried again; nothing is doubled",
        "inject": restarting("copy.after_buffer", signal.SIGINT),
        "failpoints": ("copy.after_buffer",),
    },
    {
        "name": "restart immediate mid merge",
        "code": "P1",
        "injected": "immediate shutdown (SIGQUIT) inside the merge, recovery, and a start",
        "must_hold": "it is tried again; nothing is doubled",
        "inject": restarting("merge.before_insert", signal.SIGQUIT),
        "failpoints": ("merge.before_insert",),
    },
    *(
        {
            "name": name,
            "code": "P3",
            "injected": f"the server's own error {sqlstate} at the first write to the target",
            "must_hold": "class infrastructure: the error budget is not spent",
            "inject": refusing(sqlstate),
        }
        for name, sqlstate in _REFUSALS.items()
    ),
    {
        "name": "connections taken",
        "code": "P3",
        "injected": "others take every connection of the server as the step claims a day",
        "must_hold": "class infrastructure: the error budget is not spent",
        "inject": take_all_connections,
        "failpoints": ("publish.before_lease",),
        "ways": ("job execute",),
    },
    {
        "name": "disk full",
        "code": "D1",
        "injected": "the target on a tmpfs of 512 KiB, later 64 MiB",
        "must_hold": "a clean failure that names the disk; no flood of dead letters",
        "inject": fill_the_disk,
        "missing": why_no_tmpfs,
        "ways": ("job execute",),
    },
)
