"""Slots of Dagster's pools, without importing Dagster: a scrape must not pay 3 s for it."""

from dataclasses import dataclass

import psycopg

from batch_assets.postgres.sql_files import read_query

_DAGSTER_TABLES = ["dagster.concurrency_limits", "dagster.concurrency_slots"]


@dataclass(frozen=True, slots=True)
class PoolSlots:
    """One pool that has been used or given a limit.

    Attributes:
        slots: Steps that may run at once.
        taken: Steps that do.
        waiting: Steps that wait for a slot.
    """

    pool: str
    slots: int
    taken: int
    waiting: int


def read_pool_slots(conn: psycopg.Connection) -> list[PoolSlots]:
    """All pools by name; none where Dagster has never used the database."""
    row = conn.execute(
        "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name",
        [_DAGSTER_TABLES],
    ).fetchone()
    if row is None or not row[0]:
        return []
    return [PoolSlots(*found) for found in conn.execute(read_query("read_pool_slots")).fetchall()]
