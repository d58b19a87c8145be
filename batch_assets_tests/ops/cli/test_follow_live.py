"""The command in a process of its own: on a terminal, interrupted, and with NDJSON to the end."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from batch_assets_tests.ops.backfills.planted import plant_load, plant_run
from batch_assets_tests.ops.cli.test_backfills import FEED

COMMAND = [sys.executable, "-m", "batch_assets.ops.cli.main", "backfill", "market"]
RANGE = ["--from", "2024-09-26", "--to", "2024-09-27"]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
DEADLINE_SECONDS = 60.0


@pytest.fixture
def environment(tmp_path: Path, postgres: str) -> dict[str, str]:
    (tmp_path / "bars").mkdir()
    (tmp_path / "batch_assets.toml").write_text(FEED)
    return {
        **os.environ,
        "BATCH_ASSETS_CONFIG": str(tmp_path / "batch_assets.toml"),
        "BATCH_ASSETS_HOME": str(tmp_path / "state"),
        "BATCH_ASSETS_DATABASE_URL": postgres,
        "LANG": "en_US.UTF-8",
        "TERM": "xterm-256color",
        "COLUMNS": "200",
    }


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test, whatever becomes of it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(10)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_bar_on_a_terminal_and_ctrl_c_leaves_the_backfill_going_on(
    environment: dict[str, str],
    postgres: str,
    started: list[subprocess.Popen[str]],
    no_colour: bool,
) -> None:
    environment.pop("NO_COLOR", None)
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *RANGE],
        env=environment | ({"NO_COLOR": "1"} if no_colour else {}),
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    started.append(process)
    os.close(terminal)
    shown = read_until(main, lambda text: "0/2" in text)

    process.send_signal(signal.SIGINT)
    shown += read_until(main, lambda text: "follows it" in text)
    status = process.wait(DEADLINE_SECONDS)
    os.close(main)

    assert status == 130
    assert "interrupted: backfill 1 goes on; `batch-assets status 1 --watch`" in shown
    # Without colours rich leaves away the part of the bar that is not done.
    assert ("━" in shown) is not no_colour
    assert bool(COLOUR.search(shown)) is not no_colour
    with psycopg.connect(postgres) as conn:
        row = conn.execute("SELECT state, wanted, ended_at FROM ops.backfills").fetchone()
    assert row == ("requested", "run", None)


def test_json_tells_each_partition_until_the_end_and_talk_stays_on_stderr(
    environment: dict[str, str], postgres: str, started: list[subprocess.Popen[str]]
) -> None:
    process = subprocess.Popen(
        [*COMMAND, *RANGE, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    assert process.stdout is not None
    events = [json.loads(process.stdout.readline())]
    with psycopg.connect(postgres, autocommit=True) as conn:
        run = plant_run(conn, 1, "run-1")
        plant_load(conn, run, "2024-09-26")
        while not events[-1].get("done"):
            events.append(json.loads(process.stdout.readline()))
        plant_load(conn, run, "2024-09-27", "failed", rows=0, error=("UnreadableSource", "cut"))
        conn.execute("UPDATE ops.backfills SET state = 'partial', ended_at = now()")

    rest, talk = process.communicate(timeout=DEADLINE_SECONDS)

    events += [json.loads(line) for line in rest.splitlines()]
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[1], kinds[-2], kinds[-1]) == ("launched", "progress", "error", "ended")
    assert {event["version"] for event in events} == {1}
    assert process.returncode == 4
    assert "\x1b" not in talk


def read_until(main: int, is_there: Callable[[str], bool]) -> str:
    """What a terminal shows, up to where it holds what is waited for."""
    seen = b""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_there(seen.decode(errors="replace")):
        ready, _, _ = select.select([main], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"not shown within {DEADLINE_SECONDS:.0f} s: {seen.decode()!r}"
        try:
            seen += os.read(main, 65_536)
        except OSError:
            # Linux tells the end of the other side so.
            raise AssertionError(f"the command ended: {seen.decode()!r}") from None
    return seen.decode(errors="replace")
