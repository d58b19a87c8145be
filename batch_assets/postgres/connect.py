"""Connections to PostgreSQL: address, timeouts, and the one translation of driver errors.

A connection made here never waits without bound: it notices a dead peer, a lock it cannot get
and a statement that never ends. Pools are in pool.py, the private server in embedded.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from batch_assets.errors import ConfigurationError, DatabaseUnavailable
from batch_assets.postgres import embedded
from batch_assets.settings import DatabaseSettings, Settings

DEFAULT_DATABASE = "batch_assets"
OLDEST_SERVER_VERSION = 140000

# A peer that vanished (cut cable, paused machine) is noticed after 30 + 3 x 10 seconds when the
# connection is idle, and after 60 seconds when we have sent something it does not acknowledge.
_KEEPALIVE_IDLE_SECONDS = 30
_KEEPALIVE_INTERVAL_SECONDS = 10
_KEEPALIVE_COUNT = 3
_TCP_USER_TIMEOUT_MILLISECONDS = 60_000

# A transaction that waits for its client holds back VACUUM and keeps its locks. Ten minutes is
# longer than any pause between two batches of a slow source, shorter than a person's patience.
_IDLE_IN_TRANSACTION_MILLISECONDS = 600_000

_NEXT_STEP = (
    "expected it to accept and finish the statement; check the server with `batch-assets doctor`, "
    "then run the same again"
)
_NEXT_STEPS = {
    pg_errors.LockNotAvailable.sqlstate: "another session holds a lock on the table for longer "
    "than [database] lock_timeout_seconds, expected it to let go; look for it with `SELECT pid, "
    "usename, application_name, xact_start, query FROM pg_stat_activity WHERE state <> 'idle' "
    "ORDER BY xact_start`, end it with pg_terminate_backend(pid) or wait, then run the same again",
    pg_errors.QueryCanceled.sqlstate: "it took longer than [database] statement_timeout_seconds or "
    "somebody cancelled it, expected it to finish; look at the server's load, or raise the limit, "
    "then run the same again",
}

# Words of libpq, what they mean, and the next step. libpq does not translate them without NLS,
# which the wheels of psycopg leave out; in another language the error is passed on as it came.
_CERTIFICATE_PROBLEMS = (
    (
        "certificate verify failed",
        "the server's certificate is not signed by the authority in sslrootcert",
        "let sslrootcert in BATCH_ASSETS_DATABASE_URL name the file of the authority that signed "
        "it, and see that the certificate has not run out",
    ),
    (
        "does not match host name",
        "the server's certificate is for another host name",
        "write the host into BATCH_ASSETS_DATABASE_URL as the certificate names it",
    ),
    (
        "root certificate file",
        "the file of sslrootcert cannot be read",
        "let sslrootcert in BATCH_ASSETS_DATABASE_URL name the file of the authority that signed "
        "the server's certificate",
    ),
    (
        "server does not support SSL",
        "the server does not speak TLS",
        "set ssl = on there, or lower sslmode in BATCH_ASSETS_DATABASE_URL",
    ),
)


def database_url(settings: Settings) -> str:
    """The database to use: the configured one, else the embedded server's.

    Starts or joins the embedded server when no URL is configured, and creates its database.

    Raises:
        ConfigurationError: The URL is not one of PostgreSQL, or there is no embedded server here.
        EmbeddedServerError: The embedded server does not start.
    """
    if settings.database.url is not None:
        return _checked_url(settings.database.url.get_secret_value())
    server = embedded.ensure_server(settings.state_dir)
    create_database(server.url("postgres"), DEFAULT_DATABASE)
    return server.url(DEFAULT_DATABASE)


def create_database(server_url: str, name: str) -> None:
    """Create a database if it does not exist; several processes may do so at once."""
    conn = connect(server_url, application_name="batch_assets create database", autocommit=True)
    with conn, translating_errors():
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        try:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except (pg_errors.DuplicateDatabase, pg_errors.UniqueViolation):
            # Another process was faster; both codes occur, depending on how close the race was.
            return


def connect(
    url: str,
    *,
    application_name: str,
    autocommit: bool = False,
    options: DatabaseSettings | None = None,
) -> psycopg.Connection:
    """Open a connection with keepalives and timeouts.

    Args:
        url: A libpq URL or keyword string. Settings it carries win over ours.
        application_name: Shown in pg_stat_activity; the server keeps its first 63 bytes.
        autocommit: Whether each statement is a transaction of its own.
        options: Timeouts; the defaults of `[database]` when absent.

    Raises:
        DatabaseUnavailable: The server does not answer or does not let us in.
        ConfigurationError: The server is older than PostgreSQL 14, the URL is not a URL, or the
            server does not prove who it is (`sslmode`).
    """
    with translating_errors(), _explaining_certificates():
        conn = psycopg.connect(
            **connection_arguments(url, application_name, options),  # type: ignore[arg-type]
            # reason: psycopg types its keyword arguments one by one; libpq takes strings for all
            autocommit=autocommit,
        )
    if conn.info.server_version < OLDEST_SERVER_VERSION:
        version = conn.info.parameter_status("server_version")
        conn.close()
        raise ConfigurationError(
            f"the server is PostgreSQL {version}, expected 14 or newer; upgrade it or set "
            "BATCH_ASSETS_DATABASE_URL to another"
        )
    return conn


def connection_arguments(
    url: str, application_name: str, options: DatabaseSettings | None = None
) -> dict[str, str | int]:
    """The libpq parameters of a connection; what the URL says wins over our defaults."""
    options = options or DatabaseSettings()
    given = {key: value for key, value in _parse(url).items() if value is not None}
    return {
        "connect_timeout": options.connect_timeout_seconds,
        "keepalives": 1,
        "keepalives_idle": _KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": _KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": _KEEPALIVE_COUNT,
        "tcp_user_timeout": _TCP_USER_TIMEOUT_MILLISECONDS,
        "client_encoding": "UTF8",
        "application_name": application_name,
        **given,
        # Sent with the first packet, so they cost no round trip; the last of two equal ones wins.
        "options": " ".join(
            filter(None, [_server_options(options), str(given.get("options", ""))])
        ),
    }


@contextmanager
def translating_errors() -> Iterator[None]:
    """Turn driver errors that a later attempt may not meet into `DatabaseUnavailable`.

    These are lost and refused connections, shutdowns, deadlocks, serialization failures, timeouts
    and exhausted resources. Errors of statements and data pass unchanged.
    """
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        # The server became a standby under us: a later connection reaches its successor.
        pg_errors.ReadOnlySqlTransaction,
    ) as error:
        raise unavailable(error) from error


@contextmanager
def _explaining_certificates() -> Iterator[None]:
    """Turn what libpq says of certificates into the next step; trying again helps with none."""
    try:
        yield
    except psycopg.OperationalError as error:
        for words, observed, step in _CERTIFICATE_PROBLEMS:
            if words in str(error):
                raise ConfigurationError(
                    f"PostgreSQL over TLS: {observed}, expected a server that proves its name to "
                    f"this sslmode; {step} (docs/security.md, TLS)"
                ) from error
        raise


def unavailable(error: psycopg.Error) -> DatabaseUnavailable:
    """Describe a driver error: what the server said and what to do, never the address."""
    seen = error.diag.message_primary or str(error).strip() or type(error).__name__
    code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
    step = _NEXT_STEPS.get(error.sqlstate or "", _NEXT_STEP)
    return DatabaseUnavailable(f"PostgreSQL: {seen}{code}; {step}", sqlstate=error.sqlstate)


def _server_options(options: DatabaseSettings) -> str:
    values = {
        "lock_timeout": round(options.lock_timeout_seconds * 1000),
        "statement_timeout": round(options.statement_timeout_seconds * 1000),
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_MILLISECONDS,
        "TimeZone": "UTC",
        # The other way round: a host that vanished leaves no session behind that keeps locks.
        "tcp_keepalives_idle": _KEEPALIVE_IDLE_SECONDS,
        "tcp_keepalives_interval": _KEEPALIVE_INTERVAL_SECONDS,
        "tcp_keepalives_count": _KEEPALIVE_COUNT,
    }
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def _checked_url(url: str) -> str:
    if url.partition("://")[0] not in ("postgresql", "postgres"):
        raise ConfigurationError(
            "BATCH_ASSETS_DATABASE_URL (or [database] url) does not start with postgresql://; "
            "write postgresql://user:password@host:5432/database, without a +driver"
        )
    _parse(url)
    return url


def _parse(url: str) -> dict[str, str | int | None]:
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # The driver's message repeats the URL, and with it the password.
        raise ConfigurationError(
            "the database URL cannot be read; expected "
            "postgresql://user:password@host:5432/database with special characters "
            "percent-encoded; correct BATCH_ASSETS_DATABASE_URL or [database] url"
        ) from None
