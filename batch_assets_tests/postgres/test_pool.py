"""Connection pools."""

import psycopg
import pytest

from batch_assets.errors import DatabaseUnavailable
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.pool import open_pool
from batch_assets.settings import DatabaseSettings


def test_borrower_never_gets_a_dead_connection(postgres_empty: str) -> None:
    with open_pool(
        postgres_empty, min_size=1, max_size=1, application_name="batch_assets pool"
    ) as pool:
        with pool.connection() as conn:
            dead = conn.info.backend_pid
        with psycopg.connect(postgres_empty) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", [dead])

        with pool.connection() as conn:
            assert conn.info.backend_pid != dead
            row = conn.execute("SELECT current_setting('application_name')").fetchone()
            assert row == ("batch_assets pool",)


def test_borrower_of_an_exhausted_pool_waits_no_longer_than_the_timeout(
    postgres_empty: str,
) -> None:
    options = DatabaseSettings(connect_timeout_seconds=1)
    with (
        open_pool(
            postgres_empty, min_size=1, max_size=1, application_name="pool", options=options
        ) as pool,
        pool.connection(),
        pytest.raises(DatabaseUnavailable, match="couldn't get a connection"),
        translating_errors(),
        pool.connection(),
    ):
        pass
