import pytest

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.errors import ConfigurationError


def test_pool_that_cannot_fit_the_server_is_refused_when_it_is_opened(postgres_empty: str) -> None:
    resource = PostgresCopyResource(url=postgres_empty, pool_max=1_000)

    with (
        pytest.raises(ConfigurationError, match="4 processes with pools of 1000 connections"),
        resource.connection(),
    ):
        pass


def test_pool_lends_connections_within_the_budget(postgres_empty: str) -> None:
    resource = PostgresCopyResource(url=postgres_empty)

    with resource.connection() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert resource._pool is not None
    assert resource._pool.max_size == 10
    resource._pool.close()
