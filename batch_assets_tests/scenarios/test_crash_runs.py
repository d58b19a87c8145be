"""Stories of runs that are killed: what they leave behind is gone within a minute (promise P6)."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from batch_assets.ops.up import running_stack
from batch_assets.runs.launch import launch_backfill
from batch_assets.runs.watch import BackfillProgress, BackfillState, watch_backfill
from batch_assets.settings import Settings, load_settings
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]
MARKET = ("batch_assets.definitions", "market_sync")
POOLED = ("batch_assets_tests.runs.pooled_definitions", "pooled")
DAY = "2024-09-30"
FAMILY = "BATCH_ASSETS_TEST_FAMILY"

# What promise P6 gives, measured from the crash.
HEALED_SECONDS = 60.0


class Site:
    """A project folder with the examples feed, pools of one slot, and a database of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.family = uuid.uuid4().hex
        limits = (PROJECT / "dagster.yaml").read_text(encoding="utf-8")
        assert "default_limit: 4" in limits
        (folder / "dagster.yaml").write_text(limits.replace("default_limit: 4", "default_limit: 1"))
        feeds = (PROJECT / "batch_assets.toml").read_text(encoding="utf-8")
        (folder / "batch_assets.toml").write_text(
            feeds.replace("[market.feeds.examples]\n", "[market.feeds.examples]\n"
                          "max_partitions_per_run = 2\n"), encoding="utf-8"
        )  # fmt: skip
        shutil.copytree(PROJECT / "examples", folder / "examples")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "BATCH_ASSETS_DATABASE_URL": self.url,
            FAMILY: self.family,
            **more,
        }

    def settings(self) -> Settings:
        return load_settings({"BATCH_ASSETS_DATABASE_URL": self.url}, working_dir=self.folder)

    def start(self, job: tuple[str, str], **environment: str) -> "subprocess.Popen[str]":
        """`dagster job execute`, in a process."""
        module, name = job
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", name),
                *(["--tags", f'{{"dagster/partition": "{DAY}"}}'] if job == MARKET else []),
            ],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return conn.execute(statement.encode()).fetchall()

    def value(self, statement: str) -> object:
        ((value,),) = self.query(statement)
        return value

    def statuses(self) -> list[object]:
        """Of all runs, oldest first."""
        return [row[0] for row in self.query("SELECT status FROM dagster.runs ORDER BY id")]

    def held(self) -> int:
        """Leases, slots, waiting steps and running loads: what somebody may be waiting for."""
        return int(
            str(
                self.value(
                    "SELECT (SELECT count(*) FROM ops.leases)"
                    " + (SELECT count(*) FROM ops.loads WHERE state = 'running')"
                    " + (SELECT count(*) FROM dagster.pending_steps)"
                    " + (SELECT count(*) FROM dagster.concurrency_slots WHERE run_id IS NOT NULL)"
                )
            )
        )

    def relatives(self) -> list[psutil.Process]:
        """Living processes of this site."""
        found = []
        for candidate in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    candidate.status() != psutil.STATUS_ZOMBIE
                    and candidate.environ().get(FAMILY) == self.family
                ):
                    found.append(candidate)
        return found

    def end_all(self) -> None:
        for process in self.relatives():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, postgres)
    yield made
    made.end_all()


def finish(process: "subprocess.Popen[str]", seconds: float = HEALED_SECONDS) -> tuple[int, str]:
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors


@pytest.mark.crash
def test_next_run_is_not_held_up_by_a_run_killed_before_its_commit(site: Site) -> None:
    killed = site.start(MARKET, BATCH_ASSETS_FAILPOINTS="publish.before_commit=kill")
    assert finish(killed)[0] == -signal.SIGKILL
    assert site.statuses() == ["STARTED"]
    assert site.held() == 4

    code, errors = finish(site.start(MARKET))

    assert code == 0, errors
    assert "worked on it and is gone" in errors
    assert site.statuses() == ["FAILURE", "SUCCESS"]
    assert site.held() == 0
    assert site.query("SELECT state, reason FROM ops.loads ORDER BY load_id") == [
        ("failed", "holder_died"),
        ("success", None),
    ]
    assert site.value("SELECT count(*) FROM market.daily_bars") == site.value(
        "SELECT rows_inserted FROM ops.loads WHERE state = 'success'"
    )


@pytest.mark.crash
def test_next_run_is_not_held_up_by_a_run_killed_before_our_code(
    site: Site, tmp_path: Path
) -> None:
    pid_file, gate = tmp_path / "pid", tmp_path / "gate"
    files = {"POOLED_PID_FILE": str(pid_file), "POOLED_GATE": str(gate)}
    killed = site.start(POOLED, **files)
    wait_until(pid_file.exists, "the first run has the slot", 60)
    killed.kill()
    killed.communicate()
    gate.touch()

    code, errors = finish(site.start(POOLED, **files))

    assert code == 0, errors
    assert site.statuses() == ["FAILURE", "SUCCESS"]
    assert site.held() == 0


@pytest.mark.crash
def test_stopped_run_keeps_its_slot_from_the_next_one(site: Site, tmp_path: Path) -> None:
    pid_file, gate = tmp_path / "pid", tmp_path / "gate"
    files = {"POOLED_PID_FILE": str(pid_file), "POOLED_GATE": str(gate)}
    stopped = site.start(POOLED, **files)
    wait_until(pid_file.exists, "the first run has the slot", 60)
    stopped.send_signal(signal.SIGSTOP)
    pid_file.unlink()

    waiting = site.start(POOLED, **files)
    wait_until(
        lambda: site.value("SELECT count(*) FROM dagster.pending_steps") == 2, "both want it", 60
    )
    assert site.statuses() == ["STARTED", "STARTED"]
    assert not pid_file.exists()

    gate.touch()
    stopped.send_signal(signal.SIGCONT)
    assert finish(stopped)[0] == 0
    assert finish(waiting)[0] == 0
    assert site.statuses() == ["SUCCESS", "SUCCESS"]


@pytest.mark.crash
def test_backfill_goes_on_when_one_of_its_workers_is_killed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every worker stops right before its first commit, with a lease and the slot in its hands.
    monkeypatch.setenv("BATCH_ASSETS_FAILPOINTS", "publish.before_commit=stop")
    monkeypatch.setenv(FAMILY, site.family)
    days = ["2024-09-25", "2024-09-26", "2024-09-27", "2024-09-30", "2024-10-08", "2024-10-09"]

    with running_stack(site.settings(), with_daemon=False) as stack:
        backfill_id = launch_backfill(
            stack.webserver_url,
            ["market", "examples", "daily_bars"],
            days,
            tags={"batch_assets/feed": "examples"},
        )
        stack.start_daemon()
        wait_until(lambda: stopped_workers(site), "a worker is about to commit", 120)
        (victim,) = stopped_workers(site)
        # It lives, however long it is silent: several looks of the sensor leave it alone.
        wait_until(lambda: sensor_ticks(site) >= 2, "the sensor has looked twice", 90)
        assert "FAILURE" not in site.statuses()

        os.kill(victim, signal.SIGKILL)
        killed_at = time.monotonic()
        wait_until(
            lambda: victim_is_healed(site, victim), "the killed run holds nothing", HEALED_SECONDS
        )
        healed_seconds = time.monotonic() - killed_at
        while not (last := newest_look(stack.webserver_url, backfill_id)).state.is_final:
            for pid in stopped_workers(site):
                os.kill(pid, signal.SIGCONT)
            assert time.monotonic() - killed_at < 240, "the backfill does not end"
            time.sleep(0.2)

    assert healed_seconds < HEALED_SECONDS
    assert site.statuses().count("FAILURE") == 1
    assert site.statuses().count("SUCCESS") == len(site.statuses()) - 1
    assert site.held() == 0
    # Each day is loaded or marked as failed; those of the killed run are the failed ones.
    assert last.state is BackfillState.COMPLETED_FAILED
    assert (last.materialized + last.failed, last.in_progress) == (len(days), 0)
    assert last.failed == len(site.query("SELECT FROM ops.loads WHERE reason = 'holder_died'")) > 0
    loaded = site.value("SELECT count(DISTINCT trade_date) FROM market.daily_bars")
    assert loaded == last.materialized


def stopped_workers(site: Site) -> list[int]:
    """Workers of runs that are stopped."""
    pids = {row[0] for row in site.query("SELECT pid FROM ops.run_workers WHERE stage = 'working'")}
    found = []
    for process in site.relatives():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.pid in pids and process.status() == psutil.STATUS_STOPPED:
                found.append(process.pid)
    return found


def sensor_ticks(site: Site) -> int:
    ticks = site.value("SELECT count(*) FROM dagster.job_ticks WHERE status = 'SKIPPED'")
    assert isinstance(ticks, int)
    return ticks


def victim_is_healed(site: Site, pid: int) -> bool:
    (run_id,) = site.query(f"SELECT run_id FROM ops.run_workers WHERE pid = {pid}")[0]
    return site.query(
        f"SELECT status,"
        f" (SELECT count(*) FROM ops.leases WHERE holder LIKE '%{run_id}'),"
        f" (SELECT count(*) FROM dagster.pending_steps WHERE run_id = '{run_id}'),"
        f" (SELECT count(*) FROM ops.loads WHERE run_id = '{run_id}' AND state = 'running')"
        f" FROM dagster.runs WHERE run_id = '{run_id}'"
    ) == [("FAILURE", 0, 0, 0)]


def newest_look(url: str, backfill_id: str) -> BackfillProgress:
    return next(watch_backfill(url, backfill_id))


@pytest.mark.crash
def test_everything_killed_is_healed_by_the_next_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "batch_assets.ops.cli.main", "up", "--port", "0"]
    environment = site.environment(BATCH_ASSETS_FAILPOINTS="publish.before_commit=stop")
    up = subprocess.Popen(
        command, cwd=site.folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert up.stdout is not None
    url = up.stdout.readline().strip()
    launch_backfill(
        url, ["market", "examples", "daily_bars"], [DAY], tags={"batch_assets/feed": "examples"}
    )
    wait_until(lambda: stopped_workers(site), "the worker is about to commit", 120)
    site.end_all()
    up.communicate()
    wait_until(lambda: site.relatives() == [], "all have gone", 30)
    assert site.statuses() == ["STARTED"]
    assert site.held() == 4

    monkeypatch.setenv(FAMILY, site.family)
    said: list[str] = []
    with running_stack(site.settings(), tell=said.append) as stack:
        assert "repair of what the last stop left behind" in said
        assert site.statuses() == ["FAILURE"]
        assert site.held() == 0
        *_, last = watch_backfill(
            stack.webserver_url,
            launch_backfill(
                stack.webserver_url,
                ["market", "examples", "daily_bars"],
                [DAY],
                tags={"batch_assets/feed": "examples"},
            ),
            deadline_seconds=180,
        )

    assert last.state is BackfillState.COMPLETED_SUCCESS
    assert site.value("SELECT count(DISTINCT trade_date) FROM market.daily_bars") == 1
