"""SQL texts that live in files: named queries and the list of migrations.

Reads files only. What a migration does to a database is decided in migrate.py.
"""

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from psycopg import sql

from batch_assets.errors import ConfigurationError, MigrationError
from batch_assets.settings import shipped_path

NO_TRANSACTION_LINE = "-- migrate: no-transaction"
_MIGRATION_NAME = re.compile(r"(?P<version>\d{4})_[a-z0-9]+(_[a-z0-9]+)+\.sql")
_CREATED_SCHEMA = re.compile(r"^CREATE SCHEMA (?:IF NOT EXISTS )?(\w+);", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file.

    Attributes:
        version: The number its name starts with, from 1 and without gaps.
        name: File name, `NNNN_verb_object.sql`.
        text: The SQL, with line ends as LF.
        checksum: SHA-256 of `text` in UTF-8, hexadecimal.
    """

    version: int
    name: str
    text: str
    checksum: str

    @property
    def is_transactional(self) -> bool:
        """False for files that hold one statement which refuses to run in a transaction."""
        return self.text.splitlines()[:1] != [NO_TRANSACTION_LINE]


@cache
def read_query(name: str) -> sql.SQL:
    """The statement in `sql/queries/<name>.sql`, ready to be formatted with identifiers.

    Raises:
        ConfigurationError: There is no such file.
    """
    path = shipped_path("sql") / "queries" / f"{name}.sql"
    return sql.SQL(_read_text(path))


def migration_files(folder: Path | None = None) -> tuple[Migration, ...]:
    """All migrations, oldest first.

    Args:
        folder: Where to look; the shipped `sql/migrations` by default.

    Raises:
        MigrationError: A name does not follow the pattern, or a number is missing or doubled.
    """
    folder = folder or shipped_path("sql") / "migrations"
    migrations = tuple(_read_migration(path) for path in sorted(folder.glob("*.sql")))
    if not migrations:
        raise ConfigurationError(
            f"no migrations were found in {folder}; reinstall the package or restore the folder"
        )
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"{folder}: {migration.name} follows number {expected - 1:04d}, expected number "
                f"{expected:04d}; migrations are numbered without gaps or doubles, rename it"
            )
    return migrations


def read_schema_file() -> str:
    """The text of `sql/schema.sql`: the schema as it is after all migrations."""
    return _read_text(shipped_path("sql") / "schema.sql")


def owned_schemas(migrations: tuple[Migration, ...]) -> tuple[str, ...]:
    """Names of the schemas the migrations create, sorted."""
    return tuple(sorted({name for m in migrations for name in _CREATED_SCHEMA.findall(m.text)}))


def _read_migration(path: Path) -> Migration:
    match = _MIGRATION_NAME.fullmatch(path.name)
    if match is None:
        raise MigrationError(
            f"{path.name} is not the name of a migration, expected NNNN_verb_object.sql "
            "in lower case; rename the file"
        )
    text = _read_text(path)
    return Migration(
        version=int(match["version"]),
        name=path.name,
        text=text,
        checksum=sha256(text.encode()).hexdigest(),
    )


def _read_text(path: Path) -> str:
    try:
        # Universal newlines: a checkout with CRLF has the same checksums as one with LF.
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; reinstall the package or restore the file"
        ) from error
