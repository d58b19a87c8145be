"""Connection pools for processes that need several connections at once."""

import psycopg
from psycopg_pool import ConnectionPool

from batch_assets.postgres.connect import connection_arguments
from batch_assets.settings import DatabaseSettings


def open_pool(
    url: str,
    *,
    min_size: int,
    max_size: int,
    application_name: str,
    options: DatabaseSettings | None = None,
) -> ConnectionPool[psycopg.Connection]:
    """Open a pool; the caller closes it, best with `with`.

    A connection is tested before it is lent, so a server restart costs the borrower nothing.

    Args:
        url: The database.
        min_size: Connections kept open while nobody needs them.
        max_size: Connections open at most; the next borrower waits, up to the connect timeout.
        application_name: Shown in pg_stat_activity for each connection.
        options: Timeouts; the defaults of `[database]` when absent.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    options = options or DatabaseSettings()
    return ConnectionPool(
        kwargs=dict(connection_arguments(url, application_name, options)),
        min_size=min_size,
        max_size=max_size,
        timeout=options.connect_timeout_seconds,
        check=ConnectionPool.check_connection,
        name=application_name,
        open=True,
    )
