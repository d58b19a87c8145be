"""Resources: the database and the clock, as Dagster hands them to assets.

Definitions are built in every process of Dagster; what connects is imported by those that do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from batch_assets.errors import ConfigurationError
from batch_assets.settings import DatabaseSettings, current_settings

if TYPE_CHECKING:
    import psycopg
    from psycopg_pool import ConnectionPool


class PostgresCopyResource(dg.ConfigurableResource["psycopg.Connection"]):
    """PostgreSQL for assets: connections that never wait without bound, and a pool of them.

    Usable in assets of your own:

        @dg.asset
        def totals(postgres: PostgresCopyResource) -> None:
            with postgres.connection() as conn:
                conn.execute("SELECT ...")
    """

    url: str | None = Field(
        default=None,
        description="postgresql://…; default: BATCH_ASSETS_DATABASE_URL, else [database] url, "
        "else the embedded server",
    )
    pool_min: int = Field(
        default=5, ge=0, description="connections kept open once the pool is used"
    )
    pool_max: int | None = Field(
        default=None,
        ge=1,
        description="connections open at most; default: [database] pool_max, as the server has "
        "room for it",
    )

    _pool: "ConnectionPool[psycopg.Connection] | None" = PrivateAttr(default=None)
    _resolved: str | None = PrivateAttr(default=None)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Close the pool with the step."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def resolved_url(self) -> str:
        """The database's URL; where none is set, the embedded server's, started and migrated."""
        from batch_assets.postgres.connect import database_url

        if self._resolved is None:
            settings = current_settings()
            url = self.url or database_url(settings)
            if self.url is None and settings.database.url is None:
                # A server that this package started itself has nobody else to migrate it; a run on
                # a fresh clone would find no tables. A configured database is its owner's to
                # migrate (`batch-assets db migrate`).
                from batch_assets.postgres.migrate import apply_pending

                apply_pending(url)
            self._resolved = url
        return self._resolved

    def connect(self) -> "psycopg.Connection":
        """Open a connection of its own, for a thread that keeps it; the caller closes it."""
        from batch_assets.postgres.connect import connect

        return connect(
            self.resolved_url(),
            application_name="batch_assets asset",
            options=current_settings().database,
        )

    @contextmanager
    def connection(self) -> "Iterator[psycopg.Connection]":
        """Lend a connection from the pool; committed when the block ends well."""
        from batch_assets.postgres.pool import open_pool

        if self._pool is None:
            self._pool = open_pool(
                self.resolved_url(),
                min_size=min(self.pool_min, pool_max := self._fitting_pool_max()),
                max_size=pool_max,
                application_name="batch_assets asset pool",
                options=current_settings().database,
            )
        with self._pool.connection() as conn:
            yield conn

    def _fitting_pool_max(self) -> int:
        """What this process may open, so that the pools of all processes fit the server."""
        from batch_assets.postgres.pool_budget import evaluate_pool_max, read_pool_budget

        options = current_settings().database
        if self.pool_max is not None:
            options = DatabaseSettings(
                **{**options.model_dump(exclude_unset=True), "pool_max": self.pool_max}
            )
        with self.connect() as conn:
            return evaluate_pool_max(read_pool_budget(conn, options), options)


class ClockResource(dg.ConfigurableResource[datetime]):
    """The present; fixed for tests and for replaying a day as it was."""

    fixed_at: str | None = Field(
        default=None, description="ISO 8601 with an offset; unset is the real time"
    )

    def now(self) -> datetime:
        """The present, aware.

        Raises:
            ConfigurationError: `fixed_at` is no instant.
        """
        if self.fixed_at is None:
            return datetime.now(UTC)
        try:
            fixed = datetime.fromisoformat(self.fixed_at)
        except ValueError:
            fixed = None
        if fixed is None or fixed.tzinfo is None:
            raise ConfigurationError(
                f"clock.fixed_at is {self.fixed_at!r}, expected an instant with an offset such as "
                "2024-09-30T17:00:00+08:00; correct the run's configuration"
            )
        return fixed
