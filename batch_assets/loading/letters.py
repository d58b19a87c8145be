"""Dead letters as they are asked for: read in order, in batches; discarded.

Writing them belongs in dead_letters.py, loading corrected ones in replay.py. Nothing here commits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from batch_assets.contracts.batch import SourceCell, Violation
from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.postgres.sql_files import read_query

_FOR_UPDATE = sql.SQL(" FOR UPDATE")
_COUNT = sql.SQL("SELECT rule, count(*) FROM ({query}) AS l GROUP BY rule ORDER BY 2 DESC, 1")
# Rows of one trip to the server; each takes about 2 kB.
_FETCH_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; None asks for nothing.

    Attributes:
        target: Table, or a schema for all of its tables.
        window_key: Window, or what its name begins with up to a `/` (a day).
        rule: The reason.
        load_id: The load whose ledger counts them.
    """

    ids: Sequence[int] | None = None
    target: str | None = None
    scope: str | None = None
    window_key: str | None = None
    rule: str | None = None
    state: str | None = "open"
    load_id: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Parameters of the statements."""
        values = asdict(self)
        return {**values, "ids": None if self.ids is None else list(self.ids)}


def read_letters(
    conn: psycopg.Connection, wanted: LetterFilter, *, is_locking: bool = False
) -> Iterator[DeadLetter]:
    """Dead letters by table, window, file and row.

    Args:
        conn: Within a transaction, which must last as long as the iteration does.
        wanted: Which.
        is_locking: Nobody else may answer them until the transaction ends.
    """
    query = read_query("read_dead_letters")
    with conn.cursor(name="read_dead_letters", row_factory=dict_row) as cursor:
        cursor.itersize = _FETCH_ROWS
        statement = query if not is_locking else query + _FOR_UPDATE
        cursor.execute(statement, wanted.parameters())
        for row in cursor:
            yield _letter_of(row)


def count_letters(conn: psycopg.Connection, wanted: LetterFilter) -> dict[str, int]:
    """Dead letters by reason, most frequent first."""
    query = _COUNT.format(query=read_query("read_dead_letters"))
    return dict(conn.execute(query, wanted.parameters()).fetchall())


def discard_letters(
    conn: psycopg.Connection, wanted: LetterFilter, *, reason: str, who: str
) -> int:
    """Answer open dead letters: they are not going to be loaded.

    Returns:
        How many.
    """
    parameters = {**wanted.parameters(), "resolution": reason, "who": who}
    return conn.execute(read_query("discard_dead_letters"), parameters).rowcount


def _letter_of(row: dict[str, Any]) -> DeadLetter:
    violations = [dict(item) for item in row.pop("violations")]
    sheet = next((item.pop("sheet") for item in violations if "sheet" in item), "")
    for item in violations:
        item.pop("sheet", None)
    given = row.pop("corrected") or {}
    return DeadLetter(
        row=row.pop("row_number"),
        sheet=sheet,
        violations=tuple(Violation(**item) for item in violations),
        layout=tuple(SourceCell(*cell) for cell in row.pop("layout") or ()),
        corrected={name: (text, kind) for name, (text, kind) in given.items()},
        personal=tuple(row.pop("personal")),
        **row,
    )
