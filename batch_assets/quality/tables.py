"""Verdicts about transfers: their ledger, their dead letters, and the counts of both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.quality.verdict import Level, Verdict


def judge_loads(conn: psycopg.Connection, load_ids: Sequence[int]) -> Verdict:
    """Every row that was read is accounted for, by the server's counts."""
    row = conn.execute(read_query("check_loads"), {"load_ids": list(load_ids)}).fetchone()
    unbalanced, loads, rows = row or (0, 0, 0)
    return Verdict(
        level=Level.ERROR if unbalanced else Level.OK,
        observed=f"{unbalanced} of {loads} loads do not add up ({rows} rows read)",
        expected="read = inserted + updated + unchanged + duplicate + rejected + skipped",
        figures={"loads": loads, "loads_unbalanced": unbalanced, "rows_read": rows},
    )


def judge_dead_letters(conn: psycopg.Connection, target: str, keys: Sequence[str]) -> Verdict:
    """No row of these windows waits for a person."""
    row = conn.execute(
        "SELECT count(*), coalesce(mode() WITHIN GROUP (ORDER BY rule), '') "
        "FROM ops.dead_letters WHERE target = %s AND window_key = ANY (%s) AND state = 'open'",
        (target, list(keys)),
    ).fetchone()
    count, rule = row or (0, "")
    seen = f"{count} open dead letters, most of them '{rule}'" if count else "none is open"
    return Verdict(
        level=Level.WARN if count else Level.OK,
        observed=seen,
        expected="no open dead letter; see ops.dead_letters for values and reasons",
        figures={"open_dead_letters": count},
    )


@dataclass(frozen=True, slots=True)
class SideCounts:
    """Rows of one window on both sides, counted after the load.

    Attributes:
        kept_out: Duplicates, rejected and skipped rows of the load.
    """

    key: str
    source: int
    target: int
    kept_out: int

    @property
    def agree(self) -> bool:
        """Whether the target has all rows of the source that were not kept out."""
        return self.source == self.target + self.kept_out


def judge_counts(counts: Sequence[SideCounts]) -> Verdict:
    """The target has as many rows as the source, less those that were kept out."""
    differing = [item for item in counts if not item.agree]
    listed = "; ".join(
        f"{item.key}: source {item.source}, target {item.target}, kept out {item.kept_out}"
        for item in differing[:5]
    )
    return Verdict(
        # The source goes on while it is read: a difference is a reason to look, not a failure.
        level=Level.WARN if differing else Level.OK,
        observed=f"{len(differing)} of {len(counts)} windows differ"
        + (f" ({listed})" if listed else ""),
        expected="source = target + kept out, unless the source has changed since it was read",
        figures={
            "source_rows": sum(item.source for item in counts),
            "target_rows": sum(item.target for item in counts),
        },
    )
