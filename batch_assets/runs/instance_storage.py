"""Dagster's own storage, found through our settings.

Named in dagster.yaml as `storage: custom:`, so that every process that loads the file (webserver,
daemon, code server, run worker, step, `dagster job execute`) reaches the same tables with nothing
set in the environment. The rows are Dagster's; nothing here reads them. Its event log also notes
which process works on a run (event_log.py), and connections that are kept are checked
(kept_connections.py).

Why not `storage: postgres: postgres_url: {env: …}`: that form fails where the variable is unset,
and a bare `postgresql://` URL is taken for psycopg 3, with which launching a backfill fails.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

import psycopg
from dagster_postgres import DagsterPostgresStorage
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL

from batch_assets.postgres.connect import connect, database_url
from batch_assets.postgres.migrate import apply_pending
from batch_assets.postgres.schemas import ensure_schema
from batch_assets.runs.event_log import WorkerRecordingEventLog
from batch_assets.runs.kept_connections import CheckedRunStorage, CheckedScheduleStorage
from batch_assets.settings import Settings, default_environment, load_settings

logger = logging.getLogger(__name__)

DAGSTER_SCHEMA = "dagster"

_RUNS_NAME = "batch_assets runs"

# The last table each of Dagster's three storages looks for before it creates its own.
_OWN_TABLES = ("event_logs", "runs", "jobs")

# Any fixed number does, as long as nothing else in the database takes the same one.
_CREATION_LOCK = 0x6261_6461_6773

# What dagster.yaml has no field for. A backfill whose daemon looks at it while the code server is
# being restarted finds no asset: without this it is failed for good, and its runs are cancelled.
_FOR_DAGSTER = {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}


class SettingsPostgresStorage(DagsterPostgresStorage):
    """dagster-postgres in the database of our settings, in a schema of its own."""

    @classmethod
    def config_type(cls) -> dict[str, object]:
        """No option: everything comes from the environment and batch_assets.toml."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: object,
        config_value: Mapping[str, object],  # noqa: ARG003 - Dagster's signature
    ) -> Self:
        """Open the storage, creating schema and tables the first time.

        Raises:
            ConfigurationError: The settings are wrong, or the role may not create the schema.
            DatabaseUnavailable: The server does not answer.
        """
        default_environment(**_FOR_DAGSTER)
        settings = load_settings()
        url = database_url(settings)
        if settings.database.url is None:
            # Nobody else looks after the embedded database: whoever opens it first brings it up
            # to date, so that `dagster job execute` works on a fresh clone.
            apply_pending(url)
        with _creating_once(url, settings):
            storage = cls(
                postgres_url=storage_url(url, settings).render_as_string(hide_password=False),
                inst_data=inst_data,  # type: ignore[arg-type]
                # reason: the name of its type is private to Dagster
            )
        storage.check_kept_connections()
        storage.record_workers(
            lambda: connect(url, application_name=_RUNS_NAME, options=settings.database)
        )
        return storage

    def check_kept_connections(self) -> None:
        """Use storages whose kept connections survive a restart of the server."""
        self._run_storage = CheckedRunStorage(self.postgres_url)
        self._schedule_storage = CheckedScheduleStorage(self.postgres_url)

    def record_workers(self, connect_ours: Callable[[], psycopg.Connection]) -> None:
        """Use an event log that notes which process works on a run.

        Args:
            connect_ours: Opens a connection to the database of our own tables.
        """
        self._event_log_storage = WorkerRecordingEventLog(self.postgres_url, connect_ours)


def storage_url(libpq_url: str, settings: Settings) -> URL:
    """The SQLAlchemy URL of Dagster's tables for a libpq URL of the database.

    libpq itself takes the URL apart, so that every form it knows (several hosts, a socket folder,
    `sslmode`) means the same here as on our own connections.
    """
    parameters = {name: str(value) for name, value in conninfo_to_dict(libpq_url).items()}
    options = f"{parameters.pop('options', '')} -csearch_path={DAGSTER_SCHEMA}".strip()
    return URL.create(
        "postgresql+psycopg2",
        username=parameters.pop("user", None),
        password=parameters.pop("password", None),
        database=parameters.pop("dbname", None),
        query={
            "application_name": "batch_assets_dagster",
            "connect_timeout": str(settings.database.connect_timeout_seconds),
            **parameters,
            "options": options,
        },
    )


@contextmanager
def _creating_once(url: str, settings: Settings) -> Iterator[None]:
    """Let one process at a time create the schema and Dagster's tables in it.

    Five processes start together under `up`; Dagster's own guard against creating a table twice
    covers some of the errors PostgreSQL can answer with, but not a half-created schema.
    """
    with connect(
        url, application_name="batch_assets_dagster", autocommit=True, options=settings.database
    ) as conn:
        if not _tables_exist(conn):
            # The session lock is let go when the connection closes, also after a crash.
            conn.execute("SELECT pg_advisory_lock(%s)", [_CREATION_LOCK])
            ensure_schema(conn, DAGSTER_SCHEMA)
            logger.info("Dagster's tables live in schema dagster")
            yield
            return
    yield


def _tables_exist(conn: psycopg.Connection) -> bool:
    names = [f"{DAGSTER_SCHEMA}.{table}" for table in _OWN_TABLES]
    row = conn.execute(
        "SELECT count(to_regclass(name)) FROM unnest(%s::text[]) AS name", [names]
    ).fetchone()
    return row is not None and row[0] == len(_OWN_TABLES)
