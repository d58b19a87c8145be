"""Verdicts about adjustment factors: whether adjusted prices can be trusted for a day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.daily_bars import listed
from batch_assets.quality.verdict import Level, Verdict

_TARGET = "market.adjustment_factors"


@dataclass(frozen=True, slots=True)
class FactorCoverage:
    """What is known of the factors of some days.

    Attributes:
        verdict: Whether all of them can be adjusted.
        known_days: Days that can be: their factors were read, or they have no bars.
    """

    verdict: Verdict
    known_days: tuple[date, ...]


def judge_factor_coverage(
    conn: psycopg.Connection, source: str, days: Sequence[date]
) -> FactorCoverage:
    """Every day with raw bars has factors that were read, and none of its symbols lacks one.

    A day whose factors were not read is adjusted by those of the day before, which is wrong on
    the day of a dividend. The newest day counts too: forward-adjusted prices start from it.
    """
    parameters = {"source": source, "target": _TARGET, "days": list(days)}
    rows = conn.execute(read_query("read_factor_days"), parameters).fetchall()
    unread = [day for day, has_bars, state in rows if has_bars and state is None]
    partial = [day for day, has_bars, state in rows if has_bars and state == "partial"]
    wrong = [day for day in (*unread, *partial) if day in set(days)]
    newest = [day for day in (*unread, *partial) if day not in set(days)]
    named = {
        "days with bars whose factors were not read": [d for d in unread if d in wrong],
        "days of which symbols have no factor": [d for d in partial if d in wrong],
        "newest day, from which forward-adjusted prices start, not read": newest,
    }
    seen = [f"{len(found)} {what} ({listed([str(d) for d in found])})" for what, found in
            named.items() if found]  # fmt: skip
    level = Level.ERROR if wrong else Level.WARN if newest else Level.OK
    verdict = Verdict(
        level=level,
        observed="; ".join(seen) or f"the factors of all {len(days)} days are known",
        expected="the factors of each day with bars, and of the newest one; materialize "
        "adjustment_factors for the days that are named",
        figures={"days": len(days), "days_without_factors": len(wrong)},
    )
    return FactorCoverage(verdict, tuple(day for day in days if day not in set(wrong)))


def judge_missing_factors(days: int, partial: Sequence[str], some: Sequence[str]) -> Verdict:
    """No symbol that trades lacks a factor.

    Args:
        days: Days that were read.
        partial: Keys of days that lack more factors than a complete day may.
        some: What is said of days that lack a few.
    """
    level = Level.ERROR if partial else Level.WARN if some else Level.OK
    return Verdict(
        level=level,
        observed=listed([*partial, *some]) or f"{days} days, each symbol has a factor",
        expected="a factor of every symbol that trades",
        figures={"days": days, "days_incomplete": len(partial)},
    )


def judge_universe(conn: psycopg.Connection, source: str, today: date) -> Verdict:
    """A source lists symbols with the dates by which a day's completeness is judged."""
    row = conn.execute(
        "SELECT count(*), count(*) FILTER (WHERE listed_on IS NOT NULL), "
        "count(*) FILTER (WHERE listed_on <= %(day)s "
        "AND (delisted_on IS NULL OR delisted_on > %(day)s)) "
        "FROM market.instruments WHERE source = %(source)s",
        {"source": source, "day": today},
    ).fetchone()
    symbols, dated, listed_now = row or (0, 0, 0)
    return Verdict(
        level=Level.OK if listed_now else Level.ERROR,
        observed=f"{symbols} symbols, {dated} with a date of listing, {listed_now} listed now",
        expected="at least one that is listed now; else days are held against the day before",
        figures={"symbols": symbols, "symbols_listed": listed_now},
    )
