"""The server that is measured: a database of the benchmark's own, emptied between runs."""

import platform
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from batch_assets.postgres import embedded, migrate
from batch_assets.postgres.connect import connect

# Everything that a load writes to.
_WRITTEN = (
    "market.daily_bars", "market.daily_bars_history", "ops.loads", "ops.windows",
    "ops.dead_letters", "ops.checkpoints", "ops.leases", "ops.row_hashes",
)  # fmt: skip
_SETTINGS = (
    "server_version", "data_checksums", "fsync", "synchronous_commit", "full_page_writes",
    "shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_compression", "autovacuum",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BenchmarkServer:
    """A database to measure in.

    Attributes:
        url: Of the benchmark's own database.
        bin_dir: Folder with the server's own programs, if they are on this machine.
    """

    url: str
    bin_dir: Path | None

    def connect(self) -> psycopg.Connection:
        """A connection as assets open them."""
        return connect(self.url, application_name="batch_assets benchmark")

    def administer(self) -> psycopg.Connection:
        """A connection in autocommit."""
        return connect(self.url, application_name="batch_assets benchmark", autocommit=True)

    def postmaster(self, admin: psycopg.Connection) -> psutil.Process | None:
        """The server's first process; None where it is not known to be on this machine."""
        if self.bin_dir is None:
            return None
        return psutil.Process(admin.info.backend_pid).parent()


@contextmanager
def open_server(database_url: str | None, state_dir: Path) -> Iterator[BenchmarkServer]:
    """Create a migrated database, on the given server or on a private one; removed at the end."""
    if database_url is not None:
        with _fresh_database(database_url) as url:
            yield BenchmarkServer(url, None)
        return
    server = embedded.ensure_server(state_dir)
    try:
        with _fresh_database(server.url("postgres")) as url:
            yield BenchmarkServer(url, server.install_dir / "bin")
    finally:
        embedded.remove_server(state_dir)


@contextmanager
def _fresh_database(server_url: str) -> Iterator[str]:
    name = f"batch_assets_benchmark_{secrets.token_hex(4)}"
    with closing(connect(server_url, application_name="benchmark", autocommit=True)) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = _with_database(server_url, name)
    try:
        migrate.apply_pending(url)
        yield url
    finally:
        with closing(connect(server_url, application_name="benchmark", autocommit=True)) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    """The URL of another database; a URL again, because Dagster's storage needs one."""
    if "://" not in url:
        return make_conninfo(url, dbname=name)
    head, mark, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{mark}{query}"


def empty_tables(conn: psycopg.Connection) -> None:
    """Forget every load."""
    tables = sql.SQL(", ").join(sql.Identifier(*name.split(".")) for name in _WRITTEN)
    conn.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))


def client_environment(url: str) -> dict[str, str]:
    """Libpq's environment variables for a URL: a password in arguments would show in `ps`."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD",
             "dbname": "PGDATABASE", "sslmode": "PGSSLMODE"}  # fmt: skip
    known = conninfo_to_dict(url)
    return {names[key]: str(value) for key, value in known.items() if key in names and value}


def describe_server(conn: psycopg.Connection) -> dict[str, str]:
    """Settings that decide about speed and write-ahead log."""
    rows = conn.execute(
        "SELECT name, setting || coalesce(' x ' || unit, '') FROM pg_settings "
        "WHERE name = ANY (%s)",
        (list(_SETTINGS),),
    ).fetchall()
    return {name: dict(rows).get(name, "") for name in _SETTINGS}


def describe_machine() -> str:
    """Processor count, memory and Python, in a few words."""
    memory_gb = psutil.virtual_memory().total / 1024**3
    return (
        f"{psutil.cpu_count()} cores, {memory_gb:.0f} GiB, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}"
    )
