import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from batch_assets.errors import ConfigurationError, InfrastructureError
from batch_assets.ops.readiness import webserver_is_ready
from batch_assets.ops.up import running_stack
from batch_assets.runs.graphql import post_query
from batch_assets.runs.launch import launch_backfill
from batch_assets.runs.watch import BackfillState, read_backfill, watch_backfill
from batch_assets.settings import Settings, load_settings
from batch_assets_tests.polling import wait_until

PROJECT = Path(__file__).resolve().parents[2]
TINY = "batch_assets_tests.runs.tiny_definitions"


@pytest.fixture
def deep_checkout(tmp_path: Path) -> Iterator[Path]:
    """A project folder of more than 200 characters with spaces and other letters in its name."""
    folder = tmp_path / "ein langer Pfad 数据" / ("x" * 120) / ("y z " * 15).strip()
    folder.mkdir(parents=True)
    assert len(str(folder)) > 200
    shutil.copy(PROJECT / "dagster.yaml", folder)
    (folder / "batch_assets.toml").write_text("")
    yield folder
    from batch_assets.postgres.embedded import remove_server

    remove_server(folder / ".batch_assets")


@pytest.fixture
def settings(postgres_empty: str, tmp_path: Path) -> Settings:
    """Settings on an empty database of the tests' server, with a state folder of their own."""
    (tmp_path / "batch_assets.toml").write_text("")
    return load_settings({"BATCH_ASSETS_DATABASE_URL": postgres_empty}, working_dir=tmp_path)


def bare_environment() -> dict[str, str]:
    """Nothing but where this checkout is, as an installed package would know by itself."""
    return {"PYTHONPATH": str(PROJECT)}


@pytest.mark.long
def test_run_of_job_execute_is_in_the_history_of_up(deep_checkout: Path) -> None:
    executed = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "job", "execute", "-m", TINY, "-j", "left_job"),
            *("--tags", '{"dagster/partition": "2024-09-30"}'),
        ],
        cwd=deep_checkout,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert executed.returncode == 0, executed.stderr
    settings = load_settings({}, working_dir=deep_checkout)

    with running_stack(settings, module=TINY, with_daemon=False) as stack:
        history = post_query(
            stack.webserver_url,
            "{ runsOrError { ... on Runs { results { jobName status tags { key value } } } } }",
        )

    (run,) = history["runsOrError"]["results"]
    assert (run["jobName"], run["status"]) == ("left_job", "SUCCESS")
    assert {"key": "dagster/partition", "value": "2024-09-30"} in run["tags"]


@pytest.mark.long
def test_backfill_is_followed_to_its_end(settings: Settings) -> None:
    days = ["2024-09-30", "2024-10-01", "2024-10-02"]

    with running_stack(settings, module=TINY, with_daemon=False) as stack:
        backfill_id = launch_backfill(
            stack.webserver_url, ["tiny", "left", "left"], days, tags={"batch_assets/feed": "left"}
        )
        before = read_backfill(stack.webserver_url, backfill_id)
        stack.start_daemon()
        *_, last = watch_backfill(stack.webserver_url, backfill_id, deadline_seconds=180)

    assert (before.state, before.targeted, before.done) == (BackfillState.REQUESTED, 3, 0)
    assert last.state is BackfillState.COMPLETED_FAILED
    assert (last.targeted, last.materialized, last.failed) == (3, 2, 1)


@pytest.mark.long
def test_up_answers_and_leaves_nothing_behind_after_ctrl_c(
    settings: Settings, tmp_path: Path
) -> None:
    pid_file = tmp_path / "run.pid"
    with started_up(settings, TINY_PID_FILE=str(pid_file)) as (process, url):
        with urllib.request.urlopen(f"{url}/server_info", timeout=30) as response:
            assert "dagster_webserver_version" in json.load(response)
        launch_endless_run(url)
        wait_until(pid_file.exists, "the run has started", 90)

        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=60) == 0
        assert relatives(process) == []
    # The run was told to stop and could still say so.
    assert settings.database.url is not None
    with psycopg.connect(settings.database.url.get_secret_value()) as conn:
        assert conn.execute("SELECT status FROM dagster.runs").fetchall() == [("FAILURE",)]


@pytest.mark.long
def test_limit_queues_runs_of_one_feed_while_another_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setenv("TINY_GATE", str(gate))

    with running_stack(settings, module=TINY, with_daemon=False) as stack:
        for feed, days in {"left": 4, "right": 1}.items():
            launch_backfill(
                stack.webserver_url,
                ["tiny", feed, feed],
                [f"2024-10-{day:02}" for day in range(2, 2 + days)],
                tags={"batch_assets/feed": feed},
            )
        stack.start_daemon()
        wait_until(
            lambda: (
                runs_by_feed(stack.webserver_url)
                == {("left", "STARTED"): 2, ("left", "QUEUED"): 2, ("right", "SUCCESS"): 1}
            ),
            "two runs of one feed run, two wait, the other feed is done",
            90,
        )
        gate.touch()
        wait_until(
            lambda: runs_by_feed(stack.webserver_url).get(("left", "SUCCESS")) == 4,
            "the waiting runs had their turn",
            90,
        )


@pytest.mark.crash
def test_nothing_survives_the_kill_of_up(settings: Settings, tmp_path: Path) -> None:
    pid_file = tmp_path / "run.pid"
    with started_up(settings, TINY_PID_FILE=str(pid_file)) as (process, url):
        launch_endless_run(url)
        wait_until(pid_file.exists, "the run has started", 90)
        assert psutil.pid_exists(int(pid_file.read_text()))

        process.kill()

        wait_until(lambda: relatives(process) == [], "all have gone", 40)
        assert not psutil.pid_exists(int(pid_file.read_text()))


@pytest.mark.crash
def test_processes_that_are_killed_are_started_again_until_one_goes_on_dying(
    settings: Settings,
) -> None:
    with started_up(settings) as (process, url):
        for program in ("dagster-webserver", "grpc"):
            (killed,) = [p for p in relatives(process) if program in p.cmdline()]
            killed.kill()
        wait_until(lambda: webserver_is_ready(url), "webserver and definitions are there", 120)

        for _ in range(5):
            kill_daemon(process)

        kill_daemon(process)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert errors.count("daemon ended with status -9 and was started again") == 5
        assert "error: daemon ended with status -9 for the 6th time in ten minutes" in errors
        assert relatives(process) == []


def kill_daemon(process: "subprocess.Popen[str]") -> None:
    def daemons() -> list[psutil.Process]:
        return [p for p in relatives(process) if "dagster-daemon" in p.cmdline()]

    wait_until(lambda: len(daemons()) == 1, "a daemon is there", 20)
    (daemon,) = daemons()
    daemon.kill()
    wait_until(lambda: daemon not in daemons(), "the daemon is gone", 20)


@pytest.mark.long
def test_second_stack_on_one_state_folder_is_refused(settings: Settings) -> None:
    with (
        running_stack(settings, module=TINY, with_daemon=False),
        pytest.raises(ConfigurationError, match="another `batch-assets up` runs on"),
        running_stack(settings, module=TINY),
    ):
        pass


def test_port_that_is_taken_is_named(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with (
            pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 cannot be used"),
            running_stack(settings, port=port, module=TINY),
        ):
            pass


@pytest.mark.long
def test_definitions_that_do_not_load_are_shown(settings: Settings) -> None:
    with (
        pytest.raises(InfrastructureError, match="code-server ended with status") as caught,
        running_stack(settings, module="no_such_module_of_definitions"),
    ):
        pass

    assert "no_such_module_of_definitions" in "".join(caught.value.__notes__)


def runs_by_feed(url: str) -> dict[tuple[str, str], int]:
    """Number of runs by feed and status."""
    reply = post_query(
        url, "{ runsOrError { ... on Runs { results { status tags { key value } } } } }"
    )
    return Counter(
        (tag["value"], run["status"])
        for run in reply["runsOrError"]["results"]
        for tag in run["tags"]
        if tag["key"] == "batch_assets/feed"
    )


def launch_endless_run(url: str) -> None:
    launched = post_query(
        url,
        """mutation { launchRun(executionParams: {selector: {
             repositoryLocationName: "batch_assets", repositoryName: "__repository__",
             jobName: "endless"}}) { __typename } }""",
    )
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess"


@contextlib.contextmanager
def started_up(
    settings: Settings, **environment: str
) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """`batch-assets up` in a process of its own, ready."""
    assert settings.database.url is not None
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from batch_assets.ops.cli.main import main; main()"),
            *("up", "--port", "0", "--module-name", TINY),
        ],
        cwd=settings.config_dir,
        env={
            **os.environ,
            **bare_environment(),
            **environment,
            "BATCH_ASSETS_DATABASE_URL": settings.database.url.get_secret_value(),
            # Tests find what belongs to this process by it.
            "BATCH_ASSETS_TEST_FAMILY": (family := uuid.uuid4().hex),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _families[process.pid] = family
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.communicate()[1]
        yield process, url
    finally:
        process.kill()
        process.communicate()
        wait_until(lambda: relatives(process) == [], "the keeper has cleaned up", 60)


_families: dict[int, str] = {}


def relatives(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Living processes that descend from this one, the keeper included, wherever they are now."""
    found = []
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (
                candidate.pid != process.pid
                and candidate.status() != psutil.STATUS_ZOMBIE
                and candidate.environ().get("BATCH_ASSETS_TEST_FAMILY") == _families[process.pid]
            ):
                found.append(candidate)
    return found
