"""Run a contract's window checks, in the transaction that publishes the windows."""

from collections.abc import Mapping

import psycopg
import pyarrow as pa
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from batch_assets.contracts.window_checks import Consequence, Finding, WindowCheck
from batch_assets.errors import WindowRuleBroken
from batch_assets.loading.loads import LoadContext
from batch_assets.postgres.sql_files import read_query

# Two sessions of a market share few bars, a copy more than half: a sample of so many tells them
# apart, and what looks like a copy is compared as a whole.
_SAMPLE_SIZE = 64


def find_incomplete(
    conn: psycopg.Connection,
    context: LoadContext,
    row_counts: Mapping[str, int],
    whole: Mapping[str, pa.RecordBatch] | None = None,
) -> dict[str, Finding]:
    """Check windows as they would be published.

    Args:
        row_counts: Rows of each window after the publish, by window key.
        whole: All rows of windows that are at hand, by window key, in key order.

    Returns:
        What is wrong with windows that can be published nevertheless, by window key.

    Raises:
        WindowRuleBroken: A window must not be published; the caller rolls back.
    """
    findings: dict[str, Finding] = {}
    for key, finding in read_findings(conn, context, row_counts, whole):
        if finding.consequence is Consequence.FAIL:
            raise WindowRuleBroken(
                f"{context.contract.target}/{context.scope.name}/{key}: {finding.message}"
            )
        findings.setdefault(key, finding)
    return findings


def read_findings(
    conn: psycopg.Connection,
    context: LoadContext,
    row_counts: Mapping[str, int],
    whole: Mapping[str, pa.RecordBatch] | None = None,
) -> list[tuple[str, Finding]]:
    """What the contract's checks say of windows as they are now; see `find_incomplete`."""
    if not row_counts or not context.contract.window_checks:
        return []
    # The rows may be newer than the statistics: see forbid_nested_loops in merge.py. Loops over
    # windows remain; before PostgreSQL 18 their price in the plan is such that it gets compiled.
    conn.execute("SET LOCAL enable_nestloop = off; SET LOCAL jit = off")
    parameters = {
        "target": context.contract.target,
        "scope": context.scope.name,
        "window_keys": list(row_counts),
        "row_counts": list(row_counts.values()),
        "first_key": min(row_counts),
        "last_key": max(row_counts),
    }
    found = []
    for check in context.contract.window_checks:
        found += evaluate_check(conn, check, parameters, whole)
    return found


def evaluate_check(
    conn: psycopg.Connection,
    check: WindowCheck,
    parameters: Mapping[str, object],
    whole: Mapping[str, pa.RecordBatch] | None = None,
) -> list[tuple[str, Finding]]:
    """What one check finds, by window key; explained where the check can."""
    parameters = {**parameters, **_samples(check, whole or {})}
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(read_query(check.query), parameters)
        found = [(row["window_key"], finding) for row in rows if (finding := check.judge(row))]
        if not found or check.explain is None:
            return found
        wanted = {**parameters, "wanted_keys": [key for key, _ in found]}
        details = {
            row["window_key"]: row
            for row in cursor.execute(read_query(check.details_query), wanted)
        }
    return [
        (key, check.explain(finding, details[key]) if key in details else finding)
        for key, finding in found
    ]


def _samples(check: WindowCheck, whole: Mapping[str, pa.RecordBatch]) -> dict[str, Jsonb]:
    if not check.sampled_column:
        return {}
    # Evenly spread over rows in key order, so that every part of a market is in it.
    return {
        "samples": Jsonb(
            {
                key: rows.column(check.sampled_column)[:: -(-len(rows) // _SAMPLE_SIZE)].to_pylist()
                for key, rows in whole.items()
                if rows.num_rows
            }
        )
    }
