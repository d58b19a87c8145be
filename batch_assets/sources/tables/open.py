"""Connections to the database that a transfer reads, and what went wrong there in our words."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
from pydantic import SecretStr

from batch_assets.errors import (
    BatchAssetsError,
    ConfigurationError,
    SourceUnavailable,
    UnreadableSource,
)
from batch_assets.postgres.connect import connect
from batch_assets.settings import DatabaseSettings
from batch_assets.sources.tables.decode import prepare_session
from batch_assets.sources.tables.transfer import Transfer

Connector = Callable[[], psycopg.Connection]


def source_connector(
    transfer: Transfer,
    same_database: Connector,
    *,
    secret: Callable[[str], SecretStr | None],
    options: DatabaseSettings | None = None,
) -> Connector:
    """Opens connections to a transfer's source.

    Args:
        same_database: For transfers within one database.
        secret: Looks an environment variable up.
    """
    if transfer.is_same_database:
        return same_database

    def open_source() -> psycopg.Connection:
        url = secret(transfer.source_url_env)
        if url is None:
            raise ConfigurationError(
                f"[tables.transfers.{transfer.name}]: the environment variable "
                f"{transfer.source_url_env} is not set, expected the source's URL "
                "(postgresql://user:password@host:5432/database); set it where the run starts"
            )
        name = f"batch_assets transfer {transfer.name}"
        return connect(url.get_secret_value(), application_name=name, options=options)

    return open_source


@contextmanager
def open_snapshot(connector: Connector, transfer: Transfer) -> Iterator[psycopg.Connection]:
    """A connection that sees the source as it is now, until the block ends; it writes nothing.

    What the block raises passes as it is: it may be the target's failure. `reading` belongs around
    each question to the source.
    """
    with reading(transfer):
        opened = connector()
    with closing(opened) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        prepare_session(conn)
        conn.commit()
        yield conn


@contextmanager
def reading(transfer: Transfer) -> Iterator[None]:
    """Say of the source's failures that they are the source's.

    Raises:
        SourceUnavailable: It does not answer, or ended our query; a retry can help.
        UnreadableSource: It cannot evaluate an expression for some row.
        ConfigurationError: The table, a column or a right is not there.
    """
    try:
        yield
    except BatchAssetsError:
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise SourceUnavailable(
            f"{transfer.origin}: the source failed: {_said(error)}; nothing of what was under way "
            "was published; run again when it answers"
        ) from error
    except psycopg.DataError as error:
        raise UnreadableSource(
            f"{transfer.origin}: the source cannot evaluate a row: {_said(error)}; correct the "
            "expression, or leave such rows out with a query"
        ) from error
    except psycopg.Error as error:
        raise ConfigurationError(
            f"{transfer.origin}: the source refuses the query: {_said(error)}; correct "
            f"[tables.transfers.{transfer.name}], or grant the right"
        ) from error


def _said(error: psycopg.Error) -> str:
    return error.diag.message_primary or type(error).__name__
