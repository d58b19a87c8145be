"""Migrations: bring a database to what the numbered files say, and tell whether it is.

Forward only. Each file runs in one transaction together with its row in `ops.schema_migrations`
(a table that file 0001 creates), under one lock for all migrators of the database. The files
are read by sql_files.py, the schema text is made by schema_dump.py.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg

from batch_assets.errors import DatabaseUnavailable, MigrationError
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.postgres.schema_dump import differences, read_schema
from batch_assets.postgres.sql_files import (
    Migration,
    migration_files,
    owned_schemas,
    read_schema_file,
)

_log = logging.getLogger(__name__)

_APPLICATION_NAME = "batch_assets migrate"
_LOCK_KEY = "batch_assets.schema_migrations"
_LOCK_WAIT_SECONDS = 600.0
_LOCK_POLL_SECONDS = 0.1

# A waiting ALTER TABLE makes everybody behind it wait too, so it gives up early. Building an
# index may take hours, so statements themselves are not limited.
_TIMEOUTS = "SET lock_timeout = '10s'; SET statement_timeout = 0"


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """One row of the ledger."""

    version: int
    name: str
    checksum: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """How a database compares with the files.

    Attributes:
        applied: What the ledger says, oldest first.
        pending: Files that have not been applied, oldest first.
        problems: Why the pending files cannot be applied; empty when they can.
    """

    applied: tuple[AppliedMigration, ...]
    pending: tuple[Migration, ...]
    problems: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether the database is exactly what the files say."""
        return not self.pending and not self.problems


def apply_pending(
    url: str, *, dry_run: bool = False, files: tuple[Migration, ...] | None = None
) -> list[Migration]:
    """Apply the migrations the database does not have yet.

    A second migrator waits for the first and then finds nothing to do.

    Args:
        url: The database.
        dry_run: Only say what would be applied.
        files: The migrations; the shipped ones by default.

    Returns:
        The migrations applied now (or to be applied), oldest first.

    Raises:
        MigrationError: An applied file was edited or is missing, the database is newer than the
            files, or a statement failed; files before the failed one stay applied.
        DatabaseUnavailable: The server, or a lock within 10 s, could not be had.
    """
    files = files or migration_files()
    with _connection(url) as conn:
        if dry_run:
            return list(_applicable(conn, files))
        with _single_migrator(conn):
            pending = _applicable(conn, files)
            for migration in pending:
                _apply(conn, migration)
    return list(pending)


def read_status(url: str, *, files: tuple[Migration, ...] | None = None) -> MigrationStatus:
    """Compare the ledger of a database with the files; changes nothing.

    Raises:
        DatabaseUnavailable: The server cannot be reached.
    """
    with _connection(url) as conn:
        return _compare(_read_ledger(conn), files or migration_files())


def verify(url: str) -> list[str]:
    """Compare a database with the files in every respect: ledger and schema.

    Returns:
        One line per difference; empty when the database is exactly what the files say.

    Raises:
        DatabaseUnavailable: The server cannot be reached.
    """
    status = read_status(url)
    found = [*status.problems, *(f"pending: {migration.name}" for migration in status.pending)]
    # Objects of pending migrations are missing, of course; saying so again helps nobody.
    return found or differences(read_schema_file(), dump_schema(url))


def dump_schema(url: str) -> str:
    """The schemas that migrations make, as SQL; the text of sql/schema.sql when migrated.

    Raises:
        DatabaseUnavailable: The server cannot be reached.
    """
    with _connection(url) as conn:
        return read_schema(conn, owned_schemas(migration_files()))


@contextmanager
def _connection(url: str) -> Iterator[psycopg.Connection]:
    conn = connect(url, application_name=_APPLICATION_NAME, autocommit=True)
    with conn, translating_errors():
        yield conn


@contextmanager
def _single_migrator(conn: psycopg.Connection) -> Iterator[None]:
    """Hold the migrators' lock; the server frees it if we die.

    Asked for again and again instead of waited for: a waiting statement holds a snapshot, and a
    concurrent index build of the migrator before us would wait for that for ever.
    """
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while not _try_lock(conn):
        if time.monotonic() > deadline:
            raise DatabaseUnavailable(
                f"another migrator has held its lock for {_LOCK_WAIT_SECONDS:.0f} s, expected it "
                "to finish; look for application_name 'batch_assets migrate' in pg_stat_activity"
            )
        time.sleep(_LOCK_POLL_SECONDS)
    conn.execute(_TIMEOUTS)
    yield  # closing the connection frees the lock, however the block ends


def _try_lock(conn: psycopg.Connection) -> bool:
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [_LOCK_KEY]
    ).fetchone()
    return row is not None and bool(row[0])


def _applicable(conn: psycopg.Connection, files: tuple[Migration, ...]) -> tuple[Migration, ...]:
    status = _compare(_read_ledger(conn), files)
    if status.problems:
        raise MigrationError("; ".join(status.problems))
    return status.pending


def _read_ledger(conn: psycopg.Connection) -> tuple[AppliedMigration, ...]:
    row = conn.execute("SELECT to_regclass('ops.schema_migrations')").fetchone()
    if row is None or row[0] is None:
        return ()
    rows = conn.execute(
        "SELECT version, name, checksum, applied_at FROM ops.schema_migrations ORDER BY version"
    )
    return tuple(AppliedMigration(*values) for values in rows)


def _compare(
    applied: tuple[AppliedMigration, ...], files: tuple[Migration, ...]
) -> MigrationStatus:
    by_version = {migration.version: migration for migration in files}
    problems = [
        problem
        for entry in applied
        if (problem := _problem(entry, by_version.get(entry.version), files[-1]))
    ]
    done = {entry.version for entry in applied}
    newest = max(done, default=0)
    problems += [
        f"{migration.name} was never applied although {newest:04d} was, expected files to be "
        "applied in order; restore the row in ops.schema_migrations or rebuild the database"
        for migration in files
        if migration.version < newest and migration.version not in done
    ]
    return MigrationStatus(
        applied=applied,
        pending=tuple(migration for migration in files if migration.version not in done),
        problems=tuple(problems),
    )


def _problem(entry: AppliedMigration, file: Migration | None, newest: Migration) -> str | None:
    if file is None:
        return (
            f"the database has migration {entry.version:04d} ({entry.name}), the newest file here "
            f"is {newest.name}; the database is newer than this package, upgrade the package"
        )
    if file.checksum != entry.checksum:
        return (
            f"{file.name} has checksum {file.checksum[:12]}, {entry.checksum[:12]} was applied on "
            f"{entry.applied_at:%Y-%m-%d}; an applied file is never edited: restore it and put "
            "the change into a new migration"
        )
    return None


def _apply(conn: psycopg.Connection, migration: Migration) -> None:
    started = time.monotonic()
    try:
        if migration.is_transactional:
            with conn.transaction():
                _execute(conn, migration)
                _record(conn, migration, time.monotonic() - started)
        else:
            _execute(conn, migration)
            _record(conn, migration, time.monotonic() - started)
    except psycopg.OperationalError:
        raise  # translated by the caller: the file is not to blame
    except psycopg.Error as error:
        raise MigrationError(
            f"{migration.name}{_line(migration, error)}: {error.diag.message_primary or error}; "
            "expected it to apply, nothing of it was kept unless it is a no-transaction file; "
            "correct the file or the database and migrate again"
        ) from error
    _log.info("migration applied", extra={"migration": migration.name})


def _execute(conn: psycopg.Connection, migration: Migration) -> None:
    # Without parameters the text goes to the server as it is, several statements at once.
    conn.execute(migration.text)


def _record(conn: psycopg.Connection, migration: Migration, seconds: float) -> None:
    conn.execute(
        "INSERT INTO ops.schema_migrations (version, name, checksum, applied_seconds)"
        " VALUES (%s, %s, %s, %s)",
        [migration.version, migration.name, migration.checksum, seconds],
    )


def _line(migration: Migration, error: psycopg.Error) -> str:
    position = error.diag.statement_position
    if position is None:
        return ""
    return f" line {migration.text.count(chr(10), 0, int(position) - 1) + 1}"
