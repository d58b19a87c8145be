"""What must hold however many hosts load: every row of the files once, one writer a day."""

import psycopg
from psycopg import sql

from benchmarks.market_year import COLUMNS, DayFiles


def require_every_row_once(conn: psycopg.Connection, files: DayFiles) -> None:
    """Compare the table with the files, value by value.

    Raises:
        RuntimeError: A row is missing, doubled or different, or the ledger counts otherwise.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    conn.execute("DROP TABLE IF EXISTS pg_temp.expected")
    conn.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE expected AS SELECT {} FROM market.daily_bars WITH NO DATA"
        ).format(columns)
    )
    with conn.cursor() as cursor:
        for day in files.days:
            with cursor.copy("COPY expected FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(files.file_of(day).read_bytes())
    wrong = conn.execute(
        sql.SQL(
            "SELECT (SELECT count(*) FROM (SELECT {0} FROM expected EXCEPT ALL"
            " SELECT {0} FROM market.daily_bars) AS lost),"
            " (SELECT count(*) FROM (SELECT {0} FROM market.daily_bars EXCEPT ALL"
            " SELECT {0} FROM expected) AS added),"
            " (SELECT sum(rows_inserted)::bigint FROM ops.loads)"
        ).format(columns)
    ).fetchone()
    if wrong != (0, 0, files.row_count):
        raise RuntimeError(
            f"rows lost, rows too many, rows inserted: {wrong}, expected 0, 0, {files.row_count}"
        )


def require_one_writer_a_day(conn: psycopg.Connection) -> None:
    """Look through the ledger for days that two loads wrote, and for loads that are not closed.

    Raises:
        RuntimeError: There are some, or a lease is left over.
    """
    found = conn.execute(
        "SELECT (SELECT count(*) FROM (SELECT FROM ops.loads WHERE rows_inserted > 0"
        " GROUP BY resource HAVING count(*) > 1) AS twice),"
        " (SELECT count(*) FROM ops.loads WHERE rows_updated + rows_deleted > 0),"
        " (SELECT count(*) FROM ops.loads WHERE state = 'running'),"
        " (SELECT count(*) FROM ops.loads AS a JOIN ops.loads AS b USING (resource)"
        "  WHERE a.load_id < b.load_id AND a.lease_token IS NOT NULL"
        "  AND b.lease_token IS NOT NULL AND b.started_at < a.finished_at"
        # A load that lost its lease ends when whoever took it over says so, which is later.
        "  AND a.state <> 'failed'),"
        " (SELECT count(*) FROM ops.leases)"
    ).fetchone()
    if found != (0, 0, 0, 0, 0):
        raise RuntimeError(
            "days written twice, loads that changed rows, loads left open, holders at the same "
            f"time, leases left: {found}, expected none"
        )
