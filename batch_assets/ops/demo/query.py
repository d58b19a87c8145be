"""Look at the demonstration's database with SQL; nothing else need be installed for it."""

import json
from collections.abc import Iterator
from contextlib import closing

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.ops.demo.project import DemoProject
from batch_assets.postgres.connect import connect, database_url


def read_rows(project: DemoProject, statement: str) -> Iterator[list[str]]:
    """Run one statement that only reads; starts the demonstration's server if needed.

    Yields:
        The names of the columns, then the rows, as text; NULL is empty.

    Raises:
        ConfigurationError: There is no demonstration, or the statement is refused.
    """
    if not project.is_ours():
        raise ConfigurationError(
            f"there is no demonstration in {project.folder}, expected one to look at; "
            "run: batch-assets demo"
        )
    settings = project.settings()
    url = database_url(settings)
    with closing(
        connect(url, application_name="batch_assets demo query", options=settings.database)
    ) as conn:
        conn.read_only = True
        try:
            with conn.cursor() as cursor:
                # Prepared, because a prepared statement cannot be several: COMMIT would end the
                # read-only transaction.
                cursor.execute(statement.encode(), prepare=True)
                if cursor.description is None:
                    return
                yield [column.name for column in cursor.description]
                for row in cursor:
                    yield [_as_text(value) for value in row]
        except psycopg.Error as error:
            raise ConfigurationError(
                f"PostgreSQL refuses the statement: {error.diag.message_primary or error}; "
                "expected one SELECT; correct it"
            ) from error


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
