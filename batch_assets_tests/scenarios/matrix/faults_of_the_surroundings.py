"""Faults of network, clock and neighbours: lost answers, cuts, time zones, others who write."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix.faults_of_the_database import wake
from batch_assets_tests.scenarios.matrix.site import LEASE_SECONDS
from batch_assets_tests.scenarios.matrix.warm import COMMAND_SECONDS
from batch_assets_tests.scenarios.matrix.world import World

# 30 s for an answer, scaled as the leases are; a run asks some hundred times.
LATENCY_SECONDS = 0.004
FAKE_CLOCK = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def lose_the_answer_of_a_commit(world: World) -> None:
    """P2: the publishing commit happens, and its answer reaches nobody."""
    proxy, url = world.proxied()
    proxy.lose_publishing_commits(1)
    world.way.start(url=url)
    world.way.finish()
    assert proxy.lost_commits == 1, "no answer was lost"


def cut_connections(world: World) -> None:
    """N1: every connection ends in the middle of COPY, and others are refused for a moment."""
    proxy, url = world.proxied()
    world.way.start(failpoints="copy.after_buffer=stop", url=url)
    stopped = world.site.wait_for_stop()
    proxy.cut()
    wake(stopped)
    proxy.restore()
    world.way.finish()


def freeze_the_network(world: World) -> None:
    """N1: half-open: nothing arrives and nothing is closed, until somebody else took over."""
    proxy, url = world.proxied()
    world.way.start(failpoints="publish.before_commit=stop", url=url)
    stopped = world.site.wait_for_stop()
    proxy.freeze()
    wake(stopped)
    wait_until(
        lambda: (
            world.site.value("SELECT count(*) FROM ops.leases WHERE expires_at > clock_timestamp()")
            == 0
        ),
        "the leases have run out",
        LEASE_SECONDS + COMMAND_SECONDS,
    )
    world.site.load_everything()
    after = world.reader.states()
    proxy.thaw()
    world.way.finish()
    assert world.reader.states() == after, "what was cut off has published"


def delay_every_answer(world: World) -> None:
    """N1: latency of every packet."""
    proxy, url = world.proxied()
    proxy.delay_seconds = LATENCY_SECONDS
    world.way.start(url=url)
    world.way.finish()
    assert proxy.accepted, "nobody came through the proxy"


def with_environment(**values: str) -> Callable[[World], None]:
    """T1: the faulty run has another clock or time zone than the one that follows."""

    def inject(world: World) -> None:
        world.site.extra_environment = values
        world.way.start(failpoints="publish.before_commit=kill")
        world.way.finish()
        world.site.extra_environment = {}

    return inject


def write_at_once(world: World) -> None:
    """C1: a second run begins while the first has the leases; both go to their end."""
    world.way.start(failpoints="publish.after_lease=stop")
    stopped = world.site.wait_for_stop()
    second = world.site.job_execute()
    wait_until(
        lambda: (
            world.site.value("SELECT count(*) FROM dagster.runs WHERE status = 'STARTED'") > 1
            or second.has_ended()
        ),
        "the second run has begun",
        COMMAND_SECONDS,
    )
    wake(stopped)
    world.way.finish()
    second.finish()


def migrate_meanwhile(world: World) -> None:
    """V1: the target gets a column while a chunk is staged."""
    world.way.start(failpoints="stage.after_commit=stop")
    stopped = world.site.wait_for_stop()
    # The other publishing thread may stand in a transaction: the change waits for it.
    altering = threading.Thread(target=_add_column, args=(world.site.url,))
    altering.start()
    wake(stopped)
    world.way.finish()
    altering.join(timeout=COMMAND_SECONDS)
    assert not altering.is_alive(), "the migration never got through"


def _add_column(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("ALTER TABLE market.daily_bars ADD COLUMN remark text")


def why_no_fake_clock() -> str:
    """Why clocks cannot be shifted here; empty if they can."""
    return "" if FAKE_CLOCK.exists() else "libfaketime is not installed"


def _clock(shift: str) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(FAKE_CLOCK),
        "FAKETIME": shift,
        # Deadlines are kept on the monotonic clock, which no jump moves.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


_JOB_ONLY = ("job execute",)
CATALOGUE: tuple[dict[str, Any], ...] = (
    {
        "name": "answer of a commit lost",
        "code": "P2",
        "injected": "a proxy drops the answer of the publishing COMMIT and the connection",
        "must_hold": "what was committed is recognised, not loaded twice",
        "inject": lose_the_answer_of_a_commit,
    },
    {
        "name": "connections cut",
        "code": "N1",
        "injected": "a proxy ends all connections in the middle of COPY",
        "must_hold": "bounded time; nothing is doubled",
        "inject": cut_connections,
        "failpoints": ("copy.after_buffer",),
    },
    {
        "name": "half-open network",
        "code": "N1",
        "injected": "a proxy holds everything back until another run has taken over",
        "must_hold": "its publish is refused when the network is back",
        "inject": freeze_the_network,
        "failpoints": ("publish.before_commit",),
        "ways": _JOB_ONLY,
    },
    {
        "name": "latency",
        "code": "N1",
        "injected": f"{LATENCY_SECONDS * 1000:.0f} ms before every packet, either way",
        "must_hold": "it only takes longer",
        "inject": delay_every_answer,
        "ways": _JOB_ONLY,
    },
    {
        "name": "time zone west",
        "code": "T1",
        "injected": "TZ=America/New_York for the killed run, the host's zone for the next",
        "must_hold": "the same partitions, the same rows",
        "inject": with_environment(TZ="America/New_York"),
        "failpoints": ("publish.before_commit",),
        "ways": _JOB_ONLY,
    },
    *(
        {
            "name": f"clock {shift}",
            "code": "T1",
            "injected": f"libfaketime: the killed run's clock is off by {shift}",
            "must_hold": "leases follow the database's clock",
            "inject": with_environment(**_clock(shift)),
            "failpoints": ("publish.before_commit",),
            "ways": _JOB_ONLY,
            "missing": why_no_fake_clock,
        }
        for shift in ("+1h", "-1h")
    ),
    {
        "name": "two at once",
        "code": "C1",
        "injected": "a second run of the same days while the first holds their leases",
        "must_hold": "each day is published once",
        "inject": write_at_once,
        "failpoints": ("publish.after_lease",),
        "ways": _JOB_ONLY,
    },
    {
        "name": "migration during a run",
        "code": "V1",
        "injected": "ALTER TABLE ... ADD COLUMN on the target while chunks are staged",
        "must_hold": "the run and the migration both get through",
        "inject": migrate_meanwhile,
        "failpoints": ("stage.after_commit",),
    },
)
