"""Which Arrow type may be sent, in binary, into which PostgreSQL column.

Binary COPY checks nothing: int64 into numeric stores 0 and int32 into date stores a wrong day,
both in silence. So a stream is sent only where this table says that the bytes mean the same on
both sides, precision and time zone included. Everything else is refused, or cast by the source.
Source of the type numbers: PostgreSQL's pg_type.dat; of the typmod of numeric: numeric.c.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
import pyarrow as pa

from batch_assets.contracts.table import TableContract
from batch_assets.errors import SchemaMismatch

_BOOL, _BYTEA, _INT8, _INT2, _INT4, _TEXT = 16, 17, 20, 21, 23, 25
_FLOAT4, _FLOAT8, _VARCHAR, _DATE, _TIME = 700, 701, 1043, 1082, 1083
_TIMESTAMP, _TIMESTAMPTZ, _NUMERIC, _UUID = 1114, 1184, 1700, 2950

_EXACT: Mapping[pa.DataType, tuple[int, ...]] = {
    pa.bool_(): (_BOOL,),
    pa.int16(): (_INT2,),
    pa.int32(): (_INT4,),
    pa.int64(): (_INT8,),
    pa.float32(): (_FLOAT4,),
    pa.float64(): (_FLOAT8,),
    pa.string(): (_TEXT, _VARCHAR),
    pa.large_string(): (_TEXT, _VARCHAR),
    pa.binary(): (_BYTEA,),
    pa.large_binary(): (_BYTEA,),
    pa.binary(16): (_UUID,),
    pa.date32(): (_DATE,),
    pa.time64("us"): (_TIME,),
    pa.timestamp("us"): (_TIMESTAMP,),
    pa.timestamp("us", "UTC"): (_TIMESTAMPTZ,),
}


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    """One column as the catalogue describes it (pg_attribute)."""

    name: str
    type_oid: int
    type_modifier: int
    type_name: str
    is_not_null: bool
    has_default: bool


def read_columns(conn: psycopg.Connection, target: str) -> dict[str, PostgresColumn]:
    """The columns of `schema.table`, by name; empty if there is no such table."""
    schema, _, table = target.partition(".")
    rows = conn.execute(
        """
        SELECT a.attname, a.atttypid::int, a.atttypmod, format_type(a.atttypid, a.atttypmod),
               a.attnotnull, a.atthasdef OR a.attidentity <> ''
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        (schema, table),
    ).fetchall()
    return {row[0]: PostgresColumn(*row) for row in rows}


def check_columns(contract: TableContract, columns: Mapping[str, PostgresColumn]) -> None:
    """Refuse a contract whose bytes the table would misread.

    Raises:
        SchemaMismatch: Names every column that is absent, of another type, or required by the
            table and not in the contract.
    """
    if not columns:
        raise SchemaMismatch(
            f"{contract.target} does not exist; the contract needs it; "
            "run `batch-assets db migrate`"
        )
    problems = [
        problem
        for field in contract.columns
        if (problem := _problem_of(field, columns.get(field.name)))
    ]
    known = {*contract.columns.names, "load_id"}
    problems += [
        f"'{column.name}' is NOT NULL without default, and the contract does not fill it"
        for column in columns.values()
        if column.is_not_null and not column.has_default and column.name not in known
    ]
    load_id = columns.get("load_id")
    if load_id is None or load_id.type_oid != _INT8:
        problems.append("'load_id' must be bigint: every row names the load that wrote it")
    if problems:
        raise SchemaMismatch(
            f"{contract.target}: {'; '.join(problems)}; cast the column in the source, or change "
            "the contract and add a migration"
        )


def _problem_of(field: pa.Field, column: PostgresColumn | None) -> str | None:
    if column is None:
        return f"'{field.name}' is in the contract and not in the table"
    if isinstance(field.type, pa.OpaqueType):
        # Bytes that another PostgreSQL wrote and nobody here looks into: the same type reads them.
        if field.type.type_name == column.type_name:
            return None
    elif is_exact(field.type, column):
        return None
    return f"'{field.name}' is {field.type} in the contract and {column.type_name} in the table"


def is_exact(arrow_type: pa.DataType, column: PostgresColumn) -> bool:
    """Whether values keep their exact meaning in binary COPY into the column."""
    if pa.types.is_decimal128(arrow_type):
        # Before PostgreSQL 15 no numeric has a negative scale, and the encoder knows none.
        if column.type_oid != _NUMERIC or arrow_type.scale < 0:
            return False
        declared = ((arrow_type.precision << 16) | arrow_type.scale) + 4
        return column.type_modifier in (-1, declared)
    if column.type_oid not in _EXACT.get(arrow_type, ()):
        return False
    # varchar(n) and timestamp(p) would cut or round; only their unlimited forms are exact.
    return column.type_modifier == -1
