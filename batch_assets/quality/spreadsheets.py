"""Verdicts about the tables of spreadsheets and the loads that fill them."""

from collections.abc import Sequence
from datetime import date

import psycopg

from batch_assets.contracts.table import TableContract
from batch_assets.errors import SchemaMismatch
from batch_assets.loading.column_types import check_columns, read_columns
from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.verdict import Level, Verdict


def judge_loads(conn: psycopg.Connection, load_ids: Sequence[int]) -> Verdict:
    """Every row read is accounted for."""
    row = conn.execute(read_query("judge_loads"), {"load_ids": list(load_ids)}).fetchone()
    unbalanced, loads, rows, _ = row or (0, 0, 0, 0)
    return Verdict(
        level=Level.ERROR if unbalanced else Level.OK,
        observed=f"{unbalanced} of {loads} loads with {rows} rows do not balance",
        expected="read = inserted + updated + unchanged + duplicate + rejected + skipped",
        figures={"loads": loads, "rows_read": rows, "unbalanced": unbalanced},
    )


def judge_budget(
    read: int, rejected: int, *, limit_rows: int, limit_ratio: float, over: Sequence[str]
) -> Verdict:
    """Rejected rows stay within the template's budget.

    Args:
        over: Files that were not loaded because they exceed it.
    """
    ratio = rejected / read if read else 0.0
    return Verdict(
        level=Level.ERROR if over else Level.OK,
        observed=f"{rejected} of {read} rows rejected ({ratio:.2%})"
        + (f"; not loaded: {', '.join(over)}" if over else ""),
        expected=f"at most {limit_rows} rows and {limit_ratio:.1%} of each file",
        figures={"rows_read": read, "rows_rejected": rejected, "reject_ratio": ratio},
    )


def judge_open_letters(conn: psycopg.Connection, target: str, days: Sequence[date]) -> Verdict:
    """Nobody has to correct a row of these days."""
    keys = [day.isoformat() for day in days]
    row = conn.execute(
        "SELECT count(*), count(DISTINCT window_key) FROM ops.dead_letters WHERE target = %s "
        "AND state = 'open' AND left(window_key, 10) = ANY (%s)",
        (target, keys),
    ).fetchone()
    count, windows = row or (0, 0)
    return Verdict(
        level=Level.WARN if count else Level.OK,
        observed=f"{count} open dead letters of {windows} files or days",
        expected="none; correct them in the error workbook and replay it",
        figures={"open_dead_letters": count},
    )


def judge_schema(conn: psycopg.Connection, contract: TableContract) -> Verdict:
    """The table has the columns and types of the template."""
    found = conn.execute("SELECT to_regclass(%s)", (contract.target,)).fetchone()
    if found is None or found[0] is None:
        return Verdict(
            Level.OK,
            observed=f"{contract.target} is not there yet",
            expected="the columns of the template, from the first file on",
        )
    try:
        check_columns(contract, read_columns(conn, contract.target))
    except SchemaMismatch as error:
        return Verdict(Level.ERROR, observed=str(error), expected="the columns of the template")
    return Verdict(
        Level.OK,
        observed=f"{contract.target} has the {len(contract.columns)} columns of the template",
        expected="the columns of the template",
    )
