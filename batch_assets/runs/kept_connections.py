"""Connections to Dagster's tables that are kept open, and have ended meanwhile.

Dagster keeps one for each storage of its webserver, and we keep one for events. When the server is
restarted they are dead, and the next statement on each would fail: a launch that is refused, an
event that is lost. Each is therefore asked before it is used.
"""

import psycopg2
from dagster_postgres import PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InvalidatePoolError


def check_before_use(engine: Engine) -> None:
    """Replace all connections of an engine once the next one of them turns out to be dead.

    SQLAlchemy's own `pool_pre_ping` does this too, but is given when an engine is made, which
    Dagster does.
    """
    event.listen(engine, "checkout", _ask)


def _ask(connection: psycopg2.extensions.connection, *_: object) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


class CheckedRunStorage(PostgresRunStorage):
    """dagster-postgres' runs, over connections that live."""

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Keep a connection open, and check it before it is used."""
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
        check_before_use(self._engine)


class CheckedScheduleStorage(PostgresScheduleStorage):
    """dagster-postgres' schedules and sensors, over connections that live."""

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Keep a connection open, and check it before it is used."""
        super().optimize_for_webserver(statement_timeout, pool_recycle, max_overflow)
        check_before_use(self._engine)
