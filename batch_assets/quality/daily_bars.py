"""Verdicts about market.daily_bars and its ledger, for the days of one run.

All of them read what is stored; none of them trusts the load that it judges.
"""

from collections.abc import Sequence
from datetime import date

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.verdict import Level, Verdict

# A session may have so much more or less volume than the median of the ten before it.
VOLUME_RATIO = 0.6

# Fewer sessions have no median worth the name.
_FEWEST_SESSIONS = 3

ERROR_RATE_WARN = 0.05
ERROR_RATE_CRITICAL = 0.10

# Days spelled out in one verdict; the figures count all of them.
_LISTED_DAYS = 5


def judge_days(
    days: int,
    *,
    failed: Sequence[str],
    unconfirmed: Sequence[str],
    not_ready: Sequence[str],
    partial: Sequence[str] = (),
) -> Verdict:
    """Every day of a run was loaded, or is known to have no rows, or is not due yet.

    Args:
        days: Days the run was asked for.
        failed: Keys of days that should have rows and were not loaded.
        unconfirmed: Keys of days without rows, of which nobody knows whether that is right.
        not_ready: Keys of days whose rows are not due yet.
        partial: Keys of days that are stored and lack symbols.
    """
    level = Level.OK
    if failed:
        level = Level.ERROR
    elif unconfirmed or partial:
        level = Level.WARN
    named = {
        "failed": failed,
        "partial": partial,
        "empty without confirmation": unconfirmed,
        "not ready": not_ready,
    }
    seen = [f"{len(keys)} {what} ({listed(keys)})" for what, keys in named.items() if keys]
    return Verdict(
        level=level,
        observed=f"{', '.join(seen) or 'none failed'} of {days} days",
        expected="each day loaded, or known to have no session, or not due yet",
        figures={
            "days": days,
            "days_failed": len(failed),
            "days_partial": len(partial),
            "days_unconfirmed_empty": len(unconfirmed),
            "days_not_ready": len(not_ready),
        },
    )


def judge_ledger(conn: psycopg.Connection, source: str, load_ids: Sequence[int]) -> Verdict:
    """Every row that was read is accounted for, and the table holds what the loads left.

    The table's rows are counted here, so rows that somebody removed or added by hand show.
    """
    row = conn.execute(
        read_query("check_ledger"), {"source": source, "load_ids": list(load_ids)}
    ).fetchone()
    unbalanced, off_target, loads, rows = row or (0, [], 0, 0)
    seen = [f"{unbalanced} of {loads} loads do not balance ({rows} rows read)"]
    seen += [f"{source}: {listed(off_target)}"] if off_target else []
    return Verdict(
        level=Level.ERROR if unbalanced or off_target else Level.OK,
        observed="; ".join(seen),
        expected="read = inserted + updated + unchanged + duplicate + rejected + skipped, and "
        "the table has the rows that the last load of each day left",
        figures={
            "loads": loads,
            "rows_read": rows,
            "unbalanced_loads": unbalanced,
            "days_off_the_ledger": len(off_target),
        },
    )


def judge_error_rate(read: int, rejected: int) -> Verdict:
    """Rejected rows stay a small share of the rows read."""
    ratio = rejected / read if read else 0.0
    level = Level.OK
    if ratio > ERROR_RATE_CRITICAL:
        level = Level.ERROR
    elif ratio > ERROR_RATE_WARN:
        level = Level.WARN
    return Verdict(
        level=level,
        observed=f"{rejected} of {read} rows rejected ({ratio:.2%})",
        expected=f"at most {ERROR_RATE_WARN:.0%}; above {ERROR_RATE_CRITICAL:.0%} is an error",
        figures={"rows_read": read, "rows_rejected": rejected, "reject_ratio": ratio},
    )


def judge_duplicates(conn: psycopg.Connection, source: str, days: Sequence[date]) -> Verdict:
    """No symbol has two bars on one day."""
    parameters = {"source": source, "days": list(days)}
    row = conn.execute(read_query("check_duplicates"), parameters).fetchone()
    surplus, keys, rows = row or (0, 0, 0)
    return Verdict(
        level=Level.ERROR if surplus else Level.OK,
        observed=f"{surplus} surplus rows of {keys} keys in {rows} rows",
        expected="one row for each symbol and day",
        figures={"rows": rows, "surplus_rows": surplus},
    )


def judge_volume(conn: psycopg.Connection, source: str, days: Sequence[date]) -> Verdict:
    """The volume of a day is near that of the sessions before it; far off, units may be wrong."""
    rows: list[tuple[date, float, float | None, int]] = []
    if days:
        parameters = {
            "source": source,
            "days": list(days),
            "first_day": min(days),
            "last_day": max(days),
        }
        rows = conn.execute(read_query("read_day_volumes"), parameters).fetchall()
    changes = {
        day: volume / median - 1
        for day, volume, median, sessions in rows
        if median and sessions >= _FEWEST_SESSIONS
    }
    far = [f"{day} {change:+.0%}" for day, change in changes.items() if abs(change) > VOLUME_RATIO]
    largest = max(changes.values(), key=abs, default=0.0)
    return Verdict(
        level=Level.WARN if far else Level.OK,
        observed=listed(far) or f"{len(changes)} days compared, the largest change {largest:+.0%}",
        expected=f"within {VOLUME_RATIO:.0%} of the median volume of the ten sessions before",
        figures={"days_compared": len(changes), "largest_volume_change_ratio": round(largest, 4)},
    )


def judge_freshness(conn: psycopg.Connection, source: str, newest_expected: date | None) -> Verdict:
    """The newest session that is due is stored."""
    row = conn.execute(
        "SELECT max(trade_date) FROM market.daily_bars WHERE source = %s", (source,)
    ).fetchone()
    newest = row[0] if row else None
    if newest_expected is None:
        return Verdict(
            level=Level.WARN,
            observed=f"newest bar {newest}; the calendar does not say which session was the last",
            expected="the newest session that is due; update exchange-calendars or calendar_file",
        )
    age_days = (newest_expected - newest).days if newest else None
    is_fresh = newest is not None and newest >= newest_expected
    return Verdict(
        level=Level.OK if is_fresh else Level.WARN,
        observed=f"newest bar {newest or 'none'}",
        expected=f"{newest_expected}, the newest session that is due",
        figures={} if age_days is None else {"freshness_age_days": max(0, age_days)},
    )


def listed(texts: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    shown = "; ".join(texts[:_LISTED_DAYS])
    more = len(texts) - _LISTED_DAYS
    return f"{shown} and {more} more" if more > 0 else shown
