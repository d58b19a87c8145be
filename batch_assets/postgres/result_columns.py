"""What a statement returns, by the server's own word: names, types and type modifiers.

Two sides whose descriptions are equal may exchange binary COPY; a stream of another type would be
stored in silence as something else. Domains are described as the type they are made of.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql

# Types below have the same number in every database; those above are made by CREATE TYPE.
FIRST_USER_OID = 16_384


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result (RowDescription of the protocol).

    Attributes:
        type_modifier: Length or precision as the type encodes it; -1 for none.
        type_name: The type as SQL writes it, modifier included: `numeric(20,6)`.
    """

    name: str
    type_oid: int
    type_modifier: int
    type_name: str

    def is_same_type(self, other: "ResultColumn", *, same_database: bool) -> bool:
        """Whether values of one are, byte for byte, values of the other.

        Args:
            same_database: Numbers of types made by users mean something within one database only.
        """
        if self.type_oid >= FIRST_USER_OID and not same_database:
            return False
        return (self.type_oid, self.type_modifier) == (other.type_oid, other.type_modifier)


def describe_statement(
    conn: psycopg.Connection, statement: sql.Composable
) -> tuple[ResultColumn, ...]:
    """Describe the columns of a SELECT without reading rows."""
    cursor = conn.execute(sql.SQL("SELECT * FROM ({}) AS described LIMIT 0").format(statement))
    result = cursor.pgresult
    assert result is not None  # noqa: S101 - a SELECT that did not raise has a result
    found = [
        (
            (result.fname(index) or b"").decode(),
            result.ftype(index),
            result.fmod(index),
        )
        for index in range(result.nfields)
    ]
    rows = conn.execute(
        "SELECT format_type(oid, modifier) FROM "
        "unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS t (oid, modifier, place) ORDER BY place",
        ([oid for _, oid, _ in found], [modifier for _, _, modifier in found]),
    ).fetchall()
    return tuple(
        ResultColumn(*column, type_name) for column, (type_name,) in zip(found, rows, strict=True)
    )


def estimate_rows(conn: psycopg.Connection, statement: sql.Composable) -> int:
    """Rows a statement returns by the planner's estimate; good after ANALYZE, else a guess."""
    row = conn.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(statement)).fetchone()
    return int(row[0][0]["Plan"]["Plan Rows"]) if row else 0
