"""A database in one file, and back.

The file is an archive of `pg_dump`, so that PostgreSQL's own programs read it as well. It holds one
moment: what was committed when it began, whatever is loaded meanwhile. It holds everything of the
database, Dagster's history and tables of one's own included, and no roles and no passwords. Methods
of compression are left out: not every build of the server has lz4, and one without refuses them.
"""

import os
from contextlib import closing
from pathlib import Path

from batch_assets.errors import ConfigurationError
from batch_assets.postgres.client_programs import find_program, run_program
from batch_assets.postgres.connect import connect
from batch_assets.postgres.migrate import MigrationStatus, read_status
from batch_assets.postgres.sql_files import read_query

_NAME = "batch_assets backup"
_ANY_TABLE = """
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
     LIMIT 1
"""


def write_backup(url: str, file: Path) -> int:
    """Write the database into a file that is not there yet.

    Returns:
        Its size in bytes. A backup that fails leaves no file of that name.

    Raises:
        ConfigurationError: The file exists or cannot be written, or there is no pg_dump.
        InfrastructureError: pg_dump failed; with its first complaint.
    """
    if file.exists():
        raise ConfigurationError(
            f"{file} exists, expected a new file; name another, or move that one away"
        )
    program = find_program("pg_dump", _server_major(url))
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # Only its owner reads it: it holds all rows.
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}; expected a folder of this user; name "
            "another"
        ) from error
    try:
        run_program(
            program, ["--format=custom", "--no-toast-compression", f"--file={unfinished}"], url
        )
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return file.stat().st_size


def restore_backup(url: str, file: Path) -> MigrationStatus:
    """Load a backup into an empty database: all of it, or nothing.

    Objects belong to the role that restores; privileges of other roles are to be granted again.

    Returns:
        How the database stands to this version's migrations.

    Raises:
        ConfigurationError: There is no such file, or the database holds a table.
        InfrastructureError: pg_restore failed, and the database is as it was.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file} is not a file, expected a backup; correct the name")
    major = _server_major(url)
    with closing(connect(url, application_name=_NAME, autocommit=True)) as conn:
        present = conn.execute(_ANY_TABLE).fetchone()
    if present is not None:
        raise ConfigurationError(
            f"the database holds {present[0]}, expected one without tables; create another "
            "(`createdb NAME`) and set BATCH_ASSETS_DATABASE_URL to it, or for the embedded server "
            "set BATCH_ASSETS_HOME to a new folder"
        )
    run_program(
        find_program("pg_restore", major),
        ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(file)],
        url,
    )
    with closing(connect(url, application_name=_NAME, autocommit=True)) as conn:
        conn.execute(read_query("compress_restored_texts"))
    return read_status(url)


def _server_major(url: str) -> int:
    with closing(connect(url, application_name=_NAME, autocommit=True)) as conn:
        return conn.info.server_version // 10_000
