"""How many connections one process may open, so that all processes together fit the server.

A pure decision and the one query it needs. Opening pools is in pool.py.
"""

from dataclasses import dataclass

import psycopg

from batch_assets.errors import ConfigurationError
from batch_assets.postgres.connect import translating_errors
from batch_assets.settings import DatabaseSettings

# Kept for Dagster's storage, leases and persons; what `batch-assets doctor` counts with as well.
RESERVED_CONNECTIONS = 20

_LIMIT = """
SELECT current_setting('max_connections')::int
     - current_setting('superuser_reserved_connections')::int
     - coalesce(current_setting('reserved_connections', true), '0')::int,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)
"""


@dataclass(frozen=True, slots=True)
class PoolBudget:
    """What there is, and who shares it.

    Attributes:
        limit: Connections that our role can count on.
        processes: That open a pool at the same time.
        reserved: Connections for everything else.
    """

    limit: int
    processes: int
    reserved: int = RESERVED_CONNECTIONS

    @property
    def share(self) -> int:
        """Connections for each process; 0 or less if there are none."""
        return (self.limit - self.reserved) // self.processes


def evaluate_pool_max(budget: PoolBudget, options: DatabaseSettings) -> int:
    """Decide how many connections a process may open.

    A size that somebody has chosen is kept or refused; the default is lowered to what fits.

    Raises:
        ConfigurationError: The pools of all processes do not fit.
    """
    is_chosen = "pool_max" in options.model_fields_set
    least = options.pool_max if is_chosen else max(1, options.pool_min)
    if budget.share < least:
        raise ConfigurationError(
            f"{budget.processes} processes with pools of {least} connections need "
            f"{budget.processes * least}, the server has {budget.limit} and {budget.reserved} of "
            f"them are for everything else; expected at most {max(0, budget.share)} for each; "
            "lower [database] pool_max or pool_processes (also DB_POOL_SIZE, DB_MAX_OVERFLOW, "
            "PGPOOL_SIZE), or raise max_connections of the server"
        )
    return min(options.pool_max, budget.share)


def read_pool_budget(conn: psycopg.Connection, options: DatabaseSettings) -> PoolBudget:
    """Read what the server has for our role.

    Raises:
        DatabaseUnavailable: The server does not answer.
    """
    with translating_errors():
        row = conn.execute(_LIMIT).fetchone()
    assert row is not None  # noqa: S101 - settings always have a row
    server_limit, role_limit = row
    # -1 means that the role has no limit of its own.
    limit = server_limit if role_limit is None or role_limit < 0 else min(server_limit, role_limit)
    return PoolBudget(limit=limit, processes=options.pool_processes)
