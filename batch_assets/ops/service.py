"""The answers operators ask for; the command line and the HTTP API print them."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg

from batch_assets.errors import MigrationError
from batch_assets.ops.access import record_audit
from batch_assets.ops.dagster_home import write_instance_file
from batch_assets.postgres.connect import connect, database_url, translating_errors
from batch_assets.postgres.migrate import MigrationStatus, apply_pending, read_status
from batch_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from batch_assets.postgres.roles import Role
    from batch_assets.runs.repair import Repaired


@dataclass(frozen=True, slots=True)
class NewestLoad:
    """The load that started last.

    Attributes:
        resource: What it wrote: target, scope and window.
        rows_read: As far as counted; final once `state` is.
    """

    load_id: int
    resource: str
    state: str
    reason: str | None
    rows_read: int
    started_at: datetime


def open_database_url() -> str:
    """The database of this process' settings; starts the embedded server if there is no other."""
    return database_url(load_settings())


def ready_database_url() -> str:
    """The database of this process' settings, with all the tables this version needs.

    A private server is migrated on the way, as `up` does; anybody else's database only when they
    say so.

    Raises:
        MigrationError: The database is not what this version needs.
    """
    settings = load_settings()
    url = database_url(settings)
    status = read_status(url)
    if status.is_current:
        return url
    if settings.database.url is None:
        apply_pending(url)
        return url
    seen = "; ".join(status.problems) or f"{len(status.pending)} migrations are not applied"
    raise MigrationError(
        f"the database is not ready: {seen}; expected that of this version; run "
        "`batch-assets db migrate`"
    )


def role_passwords() -> "dict[Role, str]":
    """Passwords of the database's roles, as far as the environment has them."""
    from batch_assets.postgres.roles import Role

    settings = load_settings()
    found = {role: settings.secret(f"BATCH_ASSETS_{role.upper()}_PASSWORD") for role in Role}
    return {role: value.get_secret_value() for role, value in found.items() if value is not None}


@contextmanager
def changing() -> "Iterator[tuple[psycopg.Connection, str]]":
    """A connection for a command, and who gives it; committed when the body ends well.

    Yields:
        The connection, and the actor for the audit (`user@host`).
    """
    import psutil

    actor = f"{psutil.Process().username()}@{socket.gethostname()}"
    url = ready_database_url()
    with translating_errors(), connect(url, application_name="batch-assets") as conn:
        yield conn, actor


@contextmanager
def asking() -> "Iterator[psycopg.Connection]":
    """A connection for a command that only looks; nothing is committed."""
    url = ready_database_url()
    with translating_errors(), closing(connect(url, application_name="batch-assets")) as conn:
        yield conn


def repair_runs(*, dry_run: bool = False) -> "list[Repaired]":
    """End runs whose process is gone and free what they held; see runs/repair.py.

    Each leaves an audit row with who asked; those that the daemon repairs are in Dagster's events.
    """
    from batch_assets.runs.repair import repair_home

    settings = load_settings()
    repaired = repair_home(write_instance_file(settings), settings, dry_run=dry_run)
    if repaired and not dry_run:
        with changing() as (conn, actor):
            for item in repaired:
                subject = item.run_id or "a process without a run"
                record_audit(conn, actor, "runs.repair", subject, seen=item.seen, done=item.action)
    return repaired


def migration_rows(status: MigrationStatus) -> list[dict[str, str]]:
    """One row per migration, applied ones first: `migration`, `state`, `applied_at`."""
    applied = [
        {
            "migration": entry.name,
            "state": "applied",
            "applied_at": entry.applied_at.isoformat(timespec="seconds"),
        }
        for entry in status.applied
    ]
    pending = [
        {"migration": migration.name, "state": "pending", "applied_at": ""}
        for migration in status.pending
    ]
    return applied + pending


def newest_load(conn: psycopg.Connection) -> NewestLoad | None:
    """The load that started last, None if there was none."""
    row = conn.execute(
        "SELECT load_id, resource, state, reason, rows_read, started_at"
        " FROM ops.loads ORDER BY load_id DESC LIMIT 1"
    ).fetchone()
    return NewestLoad(*row) if row else None


def connection_limit(conn: psycopg.Connection) -> int:
    """Connections this role can count on: all, without those kept for superusers."""
    row = conn.execute(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int"
    ).fetchone()
    return int(row[0]) if row else 0


def daemon_silence_seconds(settings: Settings) -> float | None:
    """Seconds since Dagster's daemon last said it lives; None if there was never one."""
    url = database_url(settings)
    with translating_errors(), connect(url, application_name="batch-assets") as conn:
        return read_daemon_silence(conn)


def read_daemon_silence(conn: psycopg.Connection) -> float | None:
    """Seconds since Dagster's daemon last said it lives; None if there was never one."""
    row = conn.execute("SELECT to_regclass('dagster.daemon_heartbeats') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    row = conn.execute(
        "SELECT extract(epoch FROM (clock_timestamp() AT TIME ZONE 'UTC')"
        " - max(timestamp))::float8 FROM dagster.daemon_heartbeats"
    ).fetchone()
    return None if row is None or row[0] is None else float(row[0])
