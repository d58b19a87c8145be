"""Target tables that follow from a contract: created, compared, and extended where that is allowed.

For tables that a user describes in the configuration. The system's own tables are made by
migrations.
"""

from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.table import TableContract
from batch_assets.errors import SchemaMismatch
from batch_assets.loading.column_types import PostgresColumn, is_exact, read_columns
from batch_assets.loading.leases import Connector
from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.names import column_list, table_identifier
from batch_assets.postgres.schemas import ensure_schema

_NAMES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.binary(): "bytea",
    pa.string(): "text",
    pa.date32(): "date",
    pa.time64("us"): "time",
    pa.timestamp("us"): "timestamp",
    pa.timestamp("us", "UTC"): "timestamptz",
}


@dataclass(frozen=True, slots=True)
class TableChange:
    """What was done to a table.

    Attributes:
        is_created: There was none.
        added: Columns added to the one there was.
    """

    is_created: bool = False
    added: tuple[str, ...] = ()


def ensure_table(
    connect: Connector, contract: TableContract, *, may_add_columns: bool
) -> TableChange:
    """Make the table what the contract says, as far as that loses nothing; one transaction.

    Args:
        connect: Opens a connection.
        contract: Columns, key and target.
        may_add_columns: Whether absent columns are added, nullable; else they are refused.

    Raises:
        SchemaMismatch: The table has other types, another key, or lacks columns.
    """
    with translating_errors(), connect() as conn, conn.transaction():
        # Two processes that meet a template for the first time make one table.
        conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('batch_assets.table.' || %s, 0))",
            (contract.target,),
        )
        existing = read_columns(conn, contract.target)
        if not existing:
            _create(conn, contract)
            return TableChange(is_created=True)
        _check_key(conn, contract)
        absent = [field for field in contract.columns if field.name not in existing]
        _check_types(contract, existing, absent, may_add_columns=may_add_columns)
        for field in absent:
            conn.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
                    table_identifier(contract.target), sql.Identifier(field.name), _type_of(field)
                )
            )
        return TableChange(added=tuple(field.name for field in absent))


def type_name(arrow_type: pa.DataType) -> str:
    """PostgreSQL's name of the type that holds an Arrow type exactly."""
    if pa.types.is_decimal128(arrow_type):
        return f"numeric({arrow_type.precision},{arrow_type.scale})"
    return _NAMES[arrow_type]


def _type_of(field: pa.Field) -> sql.SQL:
    # From a closed list and two integers; no text of a user is in it.
    return sql.SQL(type_name(field.type))


def _create(conn: psycopg.Connection, contract: TableContract) -> None:
    schema, _, table = contract.target.partition(".")
    columns: list[sql.Composable] = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(field.name),
            _type_of(field),
            sql.SQL(" NOT NULL" if field.name in contract.key else ""),
        )
        for field in contract.columns
    ]
    columns.append(sql.SQL("load_id bigint NOT NULL"))
    columns.append(
        sql.SQL("CONSTRAINT {} PRIMARY KEY ({})").format(
            sql.Identifier(f"{table}_pkey"[:63]), column_list(contract.key)
        )
    )
    ensure_schema(conn, schema)
    conn.execute(
        sql.SQL("CREATE TABLE {} ({})").format(
            table_identifier(contract.target), sql.SQL(", ").join(columns)
        )
    )


def _check_key(conn: psycopg.Connection, contract: TableContract) -> None:
    """Without a unique index over exactly the key, a merge would write rows twice."""
    rows = conn.execute(
        """
        SELECT array_agg(a.attname ORDER BY a.attname)
        FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indpred IS NULL
          AND i.indexprs IS NULL
        GROUP BY i.indexrelid
        """,
        (table_identifier(contract.target).as_string(conn),),
    ).fetchall()
    keys = [tuple(row[0]) for row in rows]
    if tuple(sorted(contract.key)) not in keys:
        found = "; ".join(", ".join(key) for key in keys) or "none"
        raise SchemaMismatch(
            f"{contract.target}: is unique by {found}, the template's key is "
            f"{', '.join(contract.key)}; change `key` or `disposition`, or name another table"
        )


def _check_types(
    contract: TableContract,
    existing: dict[str, PostgresColumn],
    absent: list[pa.Field],
    *,
    may_add_columns: bool,
) -> None:
    problems = [
        f"{field.name} is {existing[field.name].type_name}, the template says "
        f"{type_name(field.type)}"
        for field in contract.columns
        if field.name in existing and not is_exact(field.type, existing[field.name])
    ]
    if not may_add_columns:
        problems += [f"{field.name} is not in the table" for field in absent]
    known = {*contract.columns.names, "load_id"}
    problems += [
        f"{column.name} is NOT NULL and the template does not fill it"
        for column in existing.values()
        if column.is_not_null and not column.has_default and column.name not in known
    ]
    if problems:
        raise SchemaMismatch(
            f"{contract.target}: {'; '.join(problems)}; change the template, alter the table, or "
            'set contract = "evolve" to add columns'
        )
