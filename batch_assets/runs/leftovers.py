"""Whether there may be anything to repair: two queries, without importing Dagster.

For starts that should not pay 3 s for it each time. What is wrong, if anything, is found by
repair.py.
"""

import psycopg

from batch_assets.postgres.sql_files import read_query

# Without these the database was never used by Dagster.
_DAGSTER_TABLES = ["dagster.runs", "dagster.pending_steps"]


def may_need_repair(conn: psycopg.Connection) -> bool:
    """Whether somebody holds a lease or a pool slot, or a load or run is in progress.

    Args:
        conn: To a migrated database.
    """
    row = conn.execute(read_query("find_leftovers")).fetchone()
    if row is None or row[0]:
        return True
    row = conn.execute(
        "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS name",
        [_DAGSTER_TABLES],
    ).fetchone()
    if row is None or not row[0]:
        return False
    row = conn.execute(read_query("find_unfinished_runs")).fetchone()
    return row is None or bool(row[0])
