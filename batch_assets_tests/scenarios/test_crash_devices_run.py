"""The continuous mode while workers and the database die: nothing lost, nothing doubled, in order.

Every record is sent once and has a key of its own, and a trigger notes every row that is written,
in the order of writing. What a client has to send again, since it got no answer, may be read twice
and is written once.
"""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from batch_assets.errors import DatabaseUnavailable
from batch_assets.ingest.devices.crew import shard_resource
from batch_assets.ingest.devices.inbox import append_to_inbox
from batch_assets.ingest.devices.shards import change_shard_count
from batch_assets.postgres import embedded, migrate
from batch_assets.postgres.connect import create_database
from batch_assets_tests.ingest.devices.continuous_worker import Work, start
from batch_assets_tests.ingest.devices.landing import MIDNIGHT, ask
from batch_assets_tests.polling import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.postgres]

_DEVICES = 40
_NOTE_EACH_ROW = """
    CREATE TABLE written (
        number bigint GENERATED ALWAYS AS IDENTITY,
        device_sn text NOT NULL,
        steps integer NOT NULL);
    CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO written (device_sn, steps) VALUES (NEW.device_sn, NEW.steps);
        RETURN NEW;
    END $$;
    CREATE TRIGGER note_row AFTER INSERT OR UPDATE ON devices.records
    FOR EACH ROW EXECUTE FUNCTION note_row();
"""
_WORKERS = """
    SELECT split_part(substr(resource, 17), ':', 1) FROM ops.leases
    WHERE starts_with(resource, 'devices.workers/') AND expires_at > now() ORDER BY 1
"""
_NEW_SHARD_IS_HELD = f"""
    SELECT count(*) FROM ops.leases
    WHERE resource = '{shard_resource(4)}' AND expires_at > now()
"""
_OUT_OF_ORDER = """
    SELECT count(*) FROM (
        SELECT steps, lag(steps) OVER (PARTITION BY device_sn ORDER BY number) AS before
        FROM written) AS w
    WHERE steps <= before
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state of a server of these tests' own, which may be restarted."""
    state_dir = tmp_path_factory.mktemp("server")
    embedded.ensure_server(state_dir)
    yield state_dir
    embedded.remove_server(state_dir)


@pytest.fixture
def url(server: Path) -> str:
    """A migrated database of this server, in which every row is noted."""
    running_server = embedded.ensure_server(server)
    name = f"test_{secrets.token_hex(4)}"
    create_database(running_server.url("postgres"), name)
    url = running_server.url(name)
    migrate.apply_pending(url)
    with psycopg.connect(url) as conn:
        conn.execute(_NOTE_EACH_ROW)
    return url


def bodies(first: int, count: int) -> list[dict[str, object]]:
    """Records by number: one device after the other, each with a moment and a count that rise."""
    return [
        {
            "device_sn": f"SN{number % _DEVICES:03d}",
            "main_data": {
                "measured_at": (MIDNIGHT + timedelta(seconds=number)).isoformat(),
                "steps": 1 + number // _DEVICES,
            },
        }
        for number in range(first, first + count)
    ]


@dataclass
class Client:
    """Posts records in order, and posts again what it had no answer for.

    Attributes:
        hold_at: After so many it waits for the word to go on; None is never.
        go_on: That word.
    """

    url: str
    total: int
    size: int = 50
    hold_at: int | None = None
    go_on: Event = field(default_factory=Event)
    accepted: int = 0
    sent_again: int = 0
    _conn: psycopg.Connection | None = field(default=None)

    def run(self) -> None:
        while self.accepted < self.total:
            if self.accepted == self.hold_at:
                assert self.go_on.wait(120)
            batch = bodies(self.accepted, min(self.size, self.total - self.accepted))
            wait_until(lambda batch=batch: self._post(batch), "an answer of the inbox", 60)
            self.accepted += len(batch)
        if self._conn is not None:
            self._conn.close()

    def _post(self, batch: list[dict[str, object]]) -> bool:
        try:
            if self._conn is None:
                self._conn = psycopg.connect(self.url)
            append_to_inbox(self._conn, batch)
        except (psycopg.OperationalError, DatabaseUnavailable):
            self._conn = None
            self.sent_again += len(batch)
            return False
        return True


@contextmanager
def posting(url: str, total: int, hold_at: int | None = None) -> Iterator[Client]:
    client = Client(url, total, hold_at=hold_at)
    thread = Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        client.go_on.set()
        thread.join(120)
    assert client.accepted == total


@contextmanager
def running(plan: Work) -> Iterator["subprocess.Popen[bytes]"]:
    process = start(plan)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def written(url: str) -> int:
    try:
        ((rows,),) = ask(url, "SELECT count(*) FROM written")
    except psycopg.OperationalError:
        return 0
    assert isinstance(rows, int)
    return rows


def assert_each_record_was_written_once_and_in_order(url: str, total: int, resent: int) -> None:
    assert ask(url, "SELECT count(*), count(DISTINCT (device_sn, steps)) FROM written") == [
        (total, total)
    ]
    assert ask(url, "SELECT count(*) FROM devices.records") == [(total,)]
    assert ask(url, _OUT_OF_ORDER) == [(0,)]
    ((read, inserted, rejected),) = ask(
        url,
        "SELECT sum(rows_read)::int, sum(rows_inserted)::int, sum(rows_rejected)::int "
        "FROM ops.loads",
    )
    assert (inserted, rejected) == (total, 0)
    assert isinstance(read, int)
    assert total <= read <= total + resent
    assert ask(url, "SELECT count(*) FROM devices.inbox") == [(0,)]


def test_nothing_is_lost_when_a_worker_is_killed_and_the_database_restarts(
    server: Path, url: str
) -> None:
    total = 6000

    with ExitStack() as stack:
        first, second = (
            stack.enter_context(running(Work(url, name=name))) for name in ("first", "second")
        )
        wait_until(lambda: len(ask(url, "SELECT FROM ops.leases")) == 6, "both workers at work")
        client = stack.enter_context(posting(url, total))
        wait_until(lambda: written(url) >= 1000, "the first records")
        first.send_signal(signal.SIGKILL)
        wait_until(lambda: written(url) >= 3000, "records after a worker was killed", 60)
        embedded.stop_server(server)
        embedded.ensure_server(server)
        third = stack.enter_context(running(Work(url, name="third")))
        wait_until(lambda: written(url) == total, "all records", 120)
        wait_until(lambda: ask(url, _WORKERS) == [("second",), ("third",)], "two workers", 60)
        for worker in (second, third):
            worker.send_signal(signal.SIGTERM)
        assert [second.wait(30), third.wait(30)] == [0, 0]

    assert first.wait() == -signal.SIGKILL
    assert_each_record_was_written_once_and_in_order(url, total, client.sent_again)
    assert ask(url, "SELECT resource FROM ops.leases") == []


def test_shards_go_from_4_to_5_while_a_worker_is_killed(url: str) -> None:
    total = 5000

    with ExitStack() as stack:
        first, second = (
            stack.enter_context(running(Work(url, name=name))) for name in ("first", "second")
        )
        wait_until(lambda: len(ask(url, "SELECT FROM ops.leases")) == 6, "both workers at work")
        client = stack.enter_context(posting(url, total, hold_at=3000))
        wait_until(lambda: written(url) >= 1500, "the first records", 60)
        with psycopg.connect(url) as conn:
            moved = change_shard_count(conn, 5)
        first.send_signal(signal.SIGKILL)
        # However fast the first records went: there is work left for the new shard.
        wait_until(lambda: ask(url, _NEW_SHARD_IS_HELD) == [(1,)], "a writer of the new shard", 60)
        client.go_on.set()
        wait_until(lambda: written(url) == total, "all records", 120)
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0

    assert len(set(moved.shards)) == 5
    assert_each_record_was_written_once_and_in_order(url, total, 0)
    ((by_new_shard,),) = ask(
        url, "SELECT sum(rows_inserted)::int FROM ops.loads WHERE window_key = 'shard-4'"
    )
    assert isinstance(by_new_shard, int)
    assert by_new_shard > 0


def test_worker_ends_when_it_is_told_to_though_the_database_is_away(server: Path, url: str) -> None:
    with running(Work(url)) as worker:
        wait_until(lambda: len(ask(url, "SELECT FROM ops.leases")) == 5, "the worker at work", 60)
        with posting(url, 500):
            wait_until(lambda: written(url) == 500, "all records", 60)
        embedded.stop_server(server)
        try:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0
        finally:
            embedded.ensure_server(server)

    assert_each_record_was_written_once_and_in_order(url, 500, 0)
