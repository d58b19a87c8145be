"""Verdicts about what a stored day lacks, and whether it is a copy of another.

The same queries and decisions as before publishing, made again over what is stored now: two days
that were published at the same moment have not seen each other, and a list of suspensions may
have come since.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date

import psycopg

from batch_assets.contracts.window_checks import Counts, Finding, WindowCheck
from batch_assets.loading.window_checks import evaluate_check
from batch_assets.quality.daily_bars import listed
from batch_assets.quality.verdict import Level, Verdict
from batch_assets.sources.market.window_checks import (
    COMPLETENESS_CHECK,
    COPIED_RATIO,
    MISSING_RATIO,
    MISSING_SYMBOLS,
    copy_check,
)

_TARGET = "market.daily_bars"


def judge_completeness(conn: psycopg.Connection, scope: str, window_keys: Sequence[str]) -> Verdict:
    """Every day has the symbols that are listed and not suspended.

    Where the source's universe is not known, a day is held against the stored day before it.

    Args:
        scope: The source.
        window_keys: Days, YYYY-MM-DD.
    """
    rows, found = _read(conn, COMPLETENESS_CHECK, scope, window_keys)
    partial = [f"{key}: {finding.message}" for key, finding in found]
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


def judge_copies(
    conn: psycopg.Connection,
    scope: str,
    window_keys: Sequence[str],
    identical_days: Collection[date] = (),
) -> Verdict:
    """No day repeats the bars of the stored day before or after it.

    Args:
        scope: The source.
        window_keys: Days, YYYY-MM-DD.
        identical_days: Days of which a person says that they do.
    """
    _, found = _read(conn, copy_check(identical_days), scope, window_keys)
    copies = [f"{key}: {finding.message}" for key, finding in found]
    allowed = sorted({day.isoformat() for day in identical_days} & set(window_keys))
    kept = f"{len(window_keys)} days, none repeats its neighbours"
    if allowed:
        kept += f"; not asked of {listed(allowed)}, which the feed's identical_days name"
    return Verdict(
        level=Level.ERROR if copies else Level.OK,
        observed=listed(copies) or kept,
        expected=f"less than {COPIED_RATIO:.0%} of the bars equal to those of a neighbouring day",
        figures={
            "days_copied": len({key for key, _ in found}),
            "days_that_may_repeat": len(allowed),
        },
    )


def _read(
    conn: psycopg.Connection, check: WindowCheck, scope: str, window_keys: Sequence[str]
) -> tuple[list[Counts], list[tuple[str, Finding]]]:
    """What a check counts in stored days, and what it finds."""
    parameters: dict[str, object] = {
        "target": _TARGET,
        "scope": scope,
        "window_keys": list(window_keys),
    }
    stored = conn.execute(
        "SELECT window_key, row_count FROM ops.windows WHERE target = %(target)s"
        " AND scope = %(scope)s AND window_key = ANY (%(window_keys)s) ORDER BY window_key",
        parameters,
    ).fetchall()
    if not stored:
        return [], []
    parameters |= {
        "window_keys": [key for key, _ in stored],
        "row_counts": [count for _, count in stored],
        "first_key": stored[0][0],
        "last_key": stored[-1][0],
    }
    counts: list[Counts] = []

    def counted(row: Counts) -> Finding | None:
        counts.append(row)
        return check.judge(row)

    with conn.transaction():
        # Days newer than the table's statistics look empty to the planner, and are then compared
        # row by row. Before PostgreSQL 18 the loops that remain would have the plan compiled.
        conn.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
        found = evaluate_check(conn, replace(check, judge=counted), parameters)
    return counts, found
