"""A PostgreSQL server of the matrix's own, which scenarios may restart, and its databases."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psutil
import psycopg

from batch_assets.postgres import embedded, migrate
from batch_assets_tests.conftest import PostgresServer, database_name
from batch_assets_tests.polling import wait_until
from batch_assets_tests.scenarios.matrix.warm import WarmDagster, warm_dagster


@dataclass
class MatrixServer:
    """The server, the folder it lives in, and the database that every scenario starts from."""

    state_dir: Path
    databases: PostgresServer
    warm: WarmDagster
    template: str = ""
    cache: Path | None = None
    _to_do: list[Callable[[], None]] = field(default_factory=list)

    @property
    def user(self) -> tuple[int, int]:
        """Who owns the server's files, to give it others."""
        found = self._status().data_dir
        assert found is not None
        entry = found.stat()
        return entry.st_uid, entry.st_gid

    @property
    def socket(self) -> Path:
        """The socket a proxy connects to."""
        query = parse_qs(urlsplit(self.databases.url).query)
        return Path(unquote(query["host"][0])) / f".s.PGSQL.{query['port'][0]}"

    def on_close(self, action: Callable[[], None]) -> None:
        """Do something after the scenario's database has been dropped."""
        self._to_do.append(action)

    def drop(self, url: str) -> None:
        """Drop a scenario's database, and whatever had to wait for that."""
        self.databases.drop_database(url)
        while self._to_do:
            self._to_do.pop()()

    def restart(self, how: signal.Signals) -> None:
        """End the server with SIGINT (fast) or SIGQUIT (immediate); its keeper starts it again."""
        before = self._status().postgres_pid
        assert before is not None
        os.kill(before, how)
        wait_until(lambda: self._status().postgres_pid != before, "another server", 60)
        wait_until(self.answers, "the server answers again", 60)

    def answers(self) -> bool:
        """Whether one can connect now."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.databases.url):
            return True
        return False

    def _status(self) -> embedded.ServerStatus:
        return embedded.server_status(self.state_dir)


@contextmanager
def opened_server() -> Iterator[MatrixServer]:
    """A server until the block ends; its template is migrated and otherwise empty."""
    state_dir = Path(tempfile.mkdtemp(prefix="matrix-"))
    # One folder for all that is run: a project below it reads as one of this repository.
    url = embedded.ensure_server(state_dir).url("postgres")
    databases = PostgresServer(url)
    databases.trust_the_operating_system()
    try:
        made = databases.create_database()
        migrate.apply_pending(made)
        with warm_dagster() as warm:
            yield MatrixServer(state_dir, databases, warm, database_name(made))
    finally:
        with suppress(psutil.Error):
            embedded.remove_server(state_dir)
        shutil.rmtree(state_dir, ignore_errors=True)
