"""Fixtures for every test: a real PostgreSQL, a fresh database per test, the shared files."""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from batch_assets.postgres import embedded, embedded_owner, migrate

_PROJECT = Path(__file__).resolve().parent.parent
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_WANTED = 4 * 1024**3
_DATABASE_FIXTURES = {"postgres", "quiet_postgres", "postgres_empty", "postgres_server"}


def pytest_configure() -> None:
    # A shell starts what runs in the background with Ctrl-C ignored, and so would everything that
    # tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # An example that takes 200 ms on a busy machine is no failure.
    hypothesis.settings.register_profile("shared machine", deadline=None)
    hypothesis.settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.postgres)


class PostgresServer:
    """A server on which tests may create databases.

    Attributes:
        url: A database to issue CREATE DATABASE from.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._strategy = sql.SQL("")
        self._place = sql.SQL("")

    def create_database(self, template: str = "template0") -> str:
        """Create a database with a name of its own; returns its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' {} {}").format(
                sql.Identifier(name), sql.Identifier(template), self._strategy, self._place
            )
        )
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, ending whatever still uses it."""
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(database_name(url))
            )
        )

    def database_url(self, name: str) -> str:
        """The URL of another database of this server; a URL if the server's is one."""
        if "://" not in self.url:
            return make_conninfo(self.url, dbname=name)
        head, mark, query = self.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}{mark}{query}"

    def trust_the_operating_system(self) -> None:
        """Do without fsync: a fresh database then costs 0.06 s instead of 0.5 s.

        Killed processes lose nothing by it, and no test pulls the plug of the machine. Copying
        files costs half of logging them then; with fsync its checkpoints would cost more.
        """
        self._execute(sql.SQL("ALTER SYSTEM SET fsync = off"))
        self._execute(sql.SQL("SELECT pg_reload_conf()"))
        self._strategy = sql.SQL("STRATEGY file_copy")

    def keep_databases_in(self, folder: Path) -> None:
        """Put the files of databases into a folder that belongs to the server's user."""
        self._execute(sql.SQL("CREATE TABLESPACE tests LOCATION {}").format(str(folder)))
        self._place = sql.SQL("TABLESPACE tests")

    def _execute(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(statement)


def database_name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


@contextmanager
def folder_in_memory() -> Iterator[Path | None]:
    """A folder of the server's user on a file system in memory; None where there is no room.

    A database is 800 files, and each test has one. ext4 looks for inodes that were not deleted
    lately, so that where databases come and go each new file costs it half a millisecond.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES_WANTED:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="batch_assets_tests_", dir=_MEMORY))
    try:
        if embedded_owner.is_root():
            owner = embedded_owner.server_owner()
            os.chown(folder, owner.uid or 0, owner.gid or 0)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server of this test run: an embedded one, or BATCH_ASSETS_TEST_DATABASE_URL."""
    given = os.environ.get("BATCH_ASSETS_TEST_DATABASE_URL")
    if given:
        yield PostgresServer(given)
        return
    state_dir = tmp_path_factory.mktemp("embedded")
    server = PostgresServer(embedded.ensure_server(state_dir).url("postgres"))
    server.trust_the_operating_system()
    with folder_in_memory() as folder:
        if folder is not None:
            server.keep_databases_in(folder)
        yield server
        embedded.remove_server(state_dir)


@pytest.fixture(scope="session")
def _migrated_template(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    migrate.apply_pending(url)
    yield database_name(url)
    postgres_server.drop_database(url)


class DatabaseSupply:
    """Migrated databases, the next one made and used ones dropped while tests run."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        self._background = ThreadPoolExecutor(1, thread_name_prefix="test-databases")
        self._next = self._make()

    def take(self) -> str:
        """URL of a database nobody has used."""
        url = self._next.result()
        self._next = self._make()
        return url

    def give_back(self, url: str) -> None:
        """Drop a database, after whatever is being made."""
        self._background.submit(self._server.drop_database, url)

    def settle(self) -> None:
        """Wait until nothing is made or dropped."""
        self._background.submit(int).result()

    def close(self) -> None:
        """Drop what is left."""
        self._background.shutdown(wait=True)
        self._server.drop_database(self._next.result())

    def _make(self) -> Future[str]:
        return self._background.submit(self._server.create_database, self._template)


@pytest.fixture(scope="session")
def _databases(
    postgres_server: PostgresServer, _migrated_template: str
) -> Iterator[DatabaseSupply]:
    supply = DatabaseSupply(postgres_server, _migrated_template)
    yield supply
    supply.close()


@pytest.fixture
def postgres(_databases: DatabaseSupply) -> Iterator[str]:
    """URL of a migrated database of this test's own."""
    url = _databases.take()
    yield url
    _databases.give_back(url)


@pytest.fixture
def quiet_postgres(postgres: str, _databases: DatabaseSupply) -> str:
    """The same, on a server that does nothing else.

    For tests that measure, and for those that look at the transactions under way: making the next
    database is one.
    """
    _databases.settle()
    return postgres


@pytest.fixture
def postgres_empty(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty database of this test's own, without migrations."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def shared_market() -> Path:
    """Real market files beside the project; the test is skipped where they are missing."""
    folder = _PROJECT.parent / "shared" / "data" / "market"
    if not folder.is_dir():
        pytest.skip(f"the real market files are not at {folder}")
    return folder
