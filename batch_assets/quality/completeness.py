"""Verdicts about what a stored day lacks, and whether it is a copy of another.

The same queries and decisions as before publishing, made again over what is stored now: two days
that were published at the same moment have not seen each other, and a list of suspensions may
have come since.
"""

from collections.abc import Callable, Sequence

import psycopg
from psycopg.rows import dict_row

from batch_assets.contracts.window_checks import Counts, Finding
from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.daily_bars import listed
from batch_assets.quality.verdict import Level, Verdict
from batch_assets.sources.market.window_checks import (
    COPIED_RATIO,
    MISSING_RATIO,
    MISSING_SYMBOLS,
    judge_copy,
)
from batch_assets.sources.market.window_checks import judge_completeness as judge_day

_TARGET = "market.daily_bars"


def judge_completeness(conn: psycopg.Connection, scope: str, window_keys: Sequence[str]) -> Verdict:
    """Every day has the symbols that are listed and not suspended.

    Where the source's universe is not known, a day is held against the stored day before it.

    Args:
        scope: The source.
        window_keys: Days, YYYY-MM-DD.
    """
    rows = _read(conn, "read_day_completeness", scope, window_keys)
    partial = _found(rows, judge_day)
    by_universe = [row for row in rows if row["expected"]]
    drops = [row["previous_rows"] - row["stored"] for row in rows if row["previous_rows"]]
    missing = [row["missing"] for row in by_universe]
    return Verdict(
        level=Level.WARN if partial else Level.OK,
        observed=listed(partial)
        or f"{len(rows)} days, at most {max(missing, default=0)} symbols of the universe missing, "
        f"largest drop {max(drops, default=0)} rows",
        expected=f"at most {MISSING_RATIO:.1%} or {MISSING_SYMBOLS} of the symbols missing that "
        "are listed and not suspended, or against the day before where no universe is known",
        figures={
            "days_incomplete": len(partial),
            "days_with_a_universe": len(by_universe),
            "missing_symbols": sum(missing),
            "largest_drop_rows": max(0, *drops, 0),
        },
    )


def judge_copies(conn: psycopg.Connection, scope: str, window_keys: Sequence[str]) -> Verdict:
    """No day repeats the bars of the stored day before or after it."""
    rows = _read(conn, "find_stale_copies", scope, window_keys)
    copies = _found(rows, judge_copy)
    return Verdict(
        level=Level.ERROR if copies else Level.OK,
        observed=listed(copies) or f"{len(window_keys)} days, none repeats its neighbours",
        expected=f"less than {COPIED_RATIO:.0%} of the bars equal to those of a neighbouring day",
        figures={"days_copied": len({row["window_key"] for row in rows if judge_copy(row)})},
    )


def _read(
    conn: psycopg.Connection, query: str, scope: str, window_keys: Sequence[str]
) -> list[Counts]:
    parameters = {"target": _TARGET, "scope": scope, "window_keys": list(window_keys)}
    stored = conn.execute(
        "SELECT window_key, row_count FROM ops.windows WHERE target = %(target)s"
        " AND scope = %(scope)s AND window_key = ANY (%(window_keys)s) ORDER BY window_key",
        parameters,
    ).fetchall()
    if not stored:
        return []
    parameters |= {
        "window_keys": [key for key, _ in stored],
        "row_counts": [count for _, count in stored],
        "first_key": stored[0][0],
        "last_key": stored[-1][0],
    }
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        # Days newer than the table's statistics look empty to the planner, and are then compared
        # row by row. Before PostgreSQL 18 the loops that remain would have the plan compiled.
        cursor.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
        return list(cursor.execute(read_query(query), parameters))


def _found(rows: Sequence[Counts], judge: Callable[[Counts], Finding | None]) -> list[str]:
    return [f"{row['window_key']}: {found.message}" for row in rows if (found := judge(row))]
