"""Faults of processes: killed, stopped, told to end; several at once."""

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil

from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix.faults_of_the_database import wake
from batch_assets_tests.scenarios.matrix.site import LEASE_SECONDS
from batch_assets_tests.scenarios.matrix.warm import COMMAND_SECONDS
from batch_assets_tests.scenarios.matrix.ways import BACKFILL_SECONDS, DaemonBackfill
from batch_assets_tests.scenarios.matrix.world import World

HEALED_SECONDS = 60.0


def killing(failpoint: str) -> Callable[[World], None]:
    """The process of the step dies at a place, the first time any process gets there."""

    def inject(world: World) -> None:
        world.way.start(failpoints=f"{failpoint}=kill")
        wait_until(lambda: world.site.has_fired(failpoint), f"{failpoint} fires", BACKFILL_SECONDS)
        world.way.finish()

    return inject


def kill_worker_only(world: World) -> None:
    """K9: the run's worker dies; its step, in a process of its own, lives on and wakes up later."""
    world.way.start(failpoints="publish.before_commit=stop")
    orphan = world.site.wait_for_stop()
    worker = world.way.worker()
    assert worker.pid != orphan.pid, "the step has no process of its own"
    worker.kill()
    world.way.finish()
    before = world.reader.states()
    world.way.recover()
    after = world.reader.states()
    assert after != before, "the successor loaded nothing"
    wake(orphan)
    wait_until(lambda: _has_gone(orphan), "the orphan ends", COMMAND_SECONDS)
    assert world.reader.states() == after, "the orphan has published"


def kill_whole_tree(world: World) -> None:
    """K10: every process of the site at once, in the middle of a publish."""
    world.way.start(failpoints="publish.before_commit=stop")
    world.site.wait_for_stop()
    if isinstance(world.way, DaemonBackfill):
        world.way.kill_everything()
    else:
        world.site.end_all()
        world.way.finish()


def stop_longer_than_the_lease(world: World) -> None:
    """K11: the step stands still until others have taken over, then goes on."""
    world.way.start(failpoints="publish.before_commit=stop")
    stopped = world.site.wait_for_stop()
    wait_until(
        lambda: (
            world.site.value("SELECT count(*) FROM ops.leases WHERE expires_at > clock_timestamp()")
            == 0
        ),
        "its leases have run out",
        LEASE_SECONDS + HEALED_SECONDS,
    )
    world.site.load_everything()
    after = world.reader.states()
    wake(stopped)
    world.way.finish()
    assert world.reader.states() == after, "the stopped run has published"


def terminate(world: World) -> None:
    """K12: SIGTERM to the worker, as a service manager or a cancelled job sends it."""
    world.way.start(failpoints="publish.before_commit=stop")
    stopped = world.site.wait_for_stop()
    world.way.worker().send_signal(signal.SIGTERM)
    wake(stopped)
    world.way.finish()


def interrupt(world: World) -> None:
    """K12: Ctrl-C in the terminal of the command: SIGINT to the whole group."""
    world.way.start(failpoints="stage.after_copy=stop")
    stopped = world.site.wait_for_stop()
    os.killpg(world.way.worker().pid, signal.SIGINT)
    wake(stopped)
    world.way.finish()


def restart_daemon(world: World) -> None:
    """B1: kill -9 of the daemon in the middle of a backfill, and a new one."""
    assert isinstance(world.way, DaemonBackfill)
    world.way.start(failpoints="publish.before_commit=stop")
    stopped = world.site.wait_for_stop()
    world.way.restart("daemon")
    wake(stopped)
    world.way.finish()


def restart_code_server(world: World) -> None:
    """B1: kill -9 of the code server in the middle of a backfill, and a new one."""
    assert isinstance(world.way, DaemonBackfill)
    world.way.start(failpoints="publish.before_commit=stop")
    stopped = world.site.wait_for_stop()
    world.way.restart("code-server")
    wake(stopped)
    world.way.finish()


def _has_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


CATALOGUE: tuple[dict[str, Any], ...] = (
    {
        "name": "kill worker only",
        "code": "K9",
        "injected": "SIGKILL of the run's worker; its step lives on, and wakes after a takeover",
        "must_hold": "the orphan publishes nothing",
        "inject": kill_worker_only,
        "failpoints": ("publish.before_commit",),
        "executors": ("multiprocess",),
        "ways": ("job execute",),
    },
    {
        "name": "kill whole tree",
        "code": "K10",
        "injected": "SIGKILL of all processes at once, daemon and code server included",
        "must_hold": "the next start of anything ends the dead run, and the queue moves",
        "inject": kill_whole_tree,
        "failpoints": ("publish.before_commit",),
    },
    {
        "name": "stop beyond lease",
        "code": "K11",
        "injected": "SIGSTOP right before a publishing commit until another run has taken over",
        "must_hold": "on waking up its publish is refused",
        "inject": stop_longer_than_the_lease,
        "failpoints": ("publish.before_commit",),
        "ways": ("job execute",),
    },
    {
        "name": "terminate",
        "code": "K12",
        "injected": "SIGTERM to the run's worker right before a publishing commit",
        "must_hold": "it ends, and the next run goes on",
        "inject": terminate,
        "failpoints": ("publish.before_commit",),
    },
    {
        "name": "interrupt",
        "code": "K12",
        "injected": "SIGINT to the command and its steps while a chunk is staged",
        "must_hold": "it ends, and the next run goes on",
        "inject": interrupt,
        "failpoints": ("stage.after_copy",),
        "ways": ("job execute",),
    },
    {
        "name": "restart daemon",
        "code": "B1",
        "injected": "SIGKILL of the daemon in the middle of a backfill, and a new one",
        "must_hold": "no run is lost or doubled",
        "inject": restart_daemon,
        "failpoints": ("publish.before_commit",),
        "ways": ("daemon backfill",),
    },
    {
        "name": "restart code server",
        "code": "B1",
        "injected": "SIGKILL of the code server in the middle of a backfill, and a new one",
        "must_hold": "no run is lost or doubled",
        "inject": restart_code_server,
        "failpoints": ("publish.before_commit",),
        "ways": ("daemon backfill",),
    },
)
