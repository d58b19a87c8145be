"""Schemas that are made when they are first written to."""

import psycopg
from psycopg import sql

from batch_assets.errors import ConfigurationError


def ensure_schema(conn: psycopg.Connection, name: str) -> None:
    """Make a schema unless it is there.

    Asked first: `CREATE SCHEMA IF NOT EXISTS` wants the right to make it even where it is there,
    and a role that only loads has none.

    Raises:
        ConfigurationError: It is missing, and this role may not make it.
    """
    if conn.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)).fetchone():
        return
    try:
        conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"schema '{name}' is missing and this role may not create it: "
            f"{error.diag.message_primary}; create it (`batch-assets db roles --schema {name}` "
            "grants what loads need), or grant CREATE on the database"
        ) from error
