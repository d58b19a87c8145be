"""Dead letters: rows that were not loaded, kept with their values, reason and place."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple

import psycopg
from psycopg.types.json import Jsonb

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.personal import masked_violations, personal_names
from batch_assets.contracts.table import TableContract, Window
from batch_assets.execution.failpoints import reach
from batch_assets.loading.loads import LoadContext
from batch_assets.postgres.sql_files import read_query

# PostgreSQL's jsonb cannot hold the NUL character; its visible picture keeps the value readable.
_NUL_PICTURE = "\N{SYMBOL FOR NULL}"


def write_dead_letters(
    conn: psycopg.Connection,
    context: LoadContext,
    window: Window,
    load_id: int,
    rejected: Iterable[RejectedRow],
) -> None:
    """Record rejected rows; a row met before, still open, is the same dead letter.

    What a rule saw of a personal column is not stored; the row itself is, for its correction.
    """
    common = {
        "target": context.contract.target,
        "scope": context.scope.name,
        "window_key": window.key,
        "load_id": load_id,
    }
    with conn.cursor() as cursor:
        cursor.executemany(
            read_query("write_dead_letter"),
            ({**common, **_values(row, context.contract)} for row in rejected),
        )
    reach("dead_letters.after_write")


def supersede_dead_letters(
    conn: psycopg.Connection, context: LoadContext, window: Window, load_id: int
) -> int:
    """Close open dead letters of a window that its newest load no longer met.

    Returns:
        How many were closed.
    """
    return conn.execute(
        "UPDATE ops.dead_letters SET state = 'superseded', resolved_at = clock_timestamp() "
        "WHERE target = %s AND scope = %s AND window_key = %s AND state = 'open' "
        "AND load_id <> %s",
        (context.contract.target, context.scope.name, window.key, load_id),
    ).rowcount


def count_unmet(
    conn: psycopg.Connection,
    context: LoadContext,
    window: Window,
    rejected: Sequence[RejectedRow],
) -> int:
    """How many of these rows are no open dead letter of the window yet."""
    fingerprints = {_fingerprint(row, _original(row)) for row in rejected}
    found = conn.execute(
        "SELECT count(*) FROM ops.dead_letters WHERE target = %s AND scope = %s "
        "AND window_key = %s AND state = 'open' AND fingerprint = ANY (%s)",
        (context.contract.target, context.scope.name, window.key, list(fingerprints)),
    ).fetchone()
    return len(fingerprints) - (found[0] if found else 0)


def _original(row: RejectedRow) -> dict[str, str | None]:
    return {str(name): _clean(value) for name, value in row.original.items()}


def _fingerprint(row: RejectedRow, original: dict[str, str | None]) -> str:
    place = [row.file, row.sheet, row.row] if row.sheet else [row.file, row.row]
    identity = json.dumps([*place, original], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


def _values(row: RejectedRow, contract: TableContract) -> dict[str, object]:
    original = _original(row)
    sheet = {"sheet": _clean(row.sheet)} if row.sheet else {}
    violations = masked_violations(row.violations, contract.personal, contract.columns.names)
    return {
        "fingerprint": _fingerprint(row, original),
        "source_file": _clean(row.file),
        "row_number": row.row,
        "rule": row.violations[0].rule,
        "violations": Jsonb(
            [
                {name: _clean(value) for name, value in asdict(violation).items()} | sheet
                for violation in violations
            ]
        ),
        "original": Jsonb(original),
        "layout": Jsonb(_layout(row)) if row.layout else None,
        "personal": list(personal_names(original, row.layout, contract.personal)),
    }


def _layout(row: RejectedRow) -> list[list[object]]:
    """Cells in the order of the source; `jsonb` keeps no order of names."""
    return [
        [_clean(value) if isinstance(value, str) else value for value in astuple(cell)]
        for cell in row.layout
    ]


def _clean(value: str | None) -> str | None:
    if value is None:
        return None
    text = value.replace("\x00", _NUL_PICTURE)
    # A lone surrogate is no character; the escape shows which one it was.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
