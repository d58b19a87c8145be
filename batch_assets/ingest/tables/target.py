"""The target of a transfer: made if it is absent, compared with what the source sends.

The comparison is by the types' numbers and modifiers, of both servers: binary COPY stores a value
of another type as something else, in silence.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import errors as pg_errors
from psycopg import sql

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract
from batch_assets.errors import SchemaMismatch
from batch_assets.postgres.names import column_list, table_identifier
from batch_assets.postgres.result_columns import ResultColumn, describe_statement
from batch_assets.postgres.schemas import ensure_schema
from batch_assets.sources.tables.decode import arrow_type_of
from batch_assets.sources.tables.open import reading
from batch_assets.sources.tables.statement import SourceStatement, written
from batch_assets.sources.tables.transfer import Transfer, TransferMode


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """A transfer whose two sides are known to fit.

    Attributes:
        source_columns: What the source sends.
        target_columns: What is stored, in the order of the contract.
        window_type: Type of the window column in the target; empty without one.
        creates_target: The target was absent, and was made (or, in a rehearsal, would be).
    """

    transfer: Transfer
    contract: TableContract
    source_columns: tuple[ResultColumn, ...]
    target_columns: tuple[ResultColumn, ...]
    window_type: str
    creates_target: bool = False

    @property
    def statement(self) -> SourceStatement:
        """What is read."""
        return SourceStatement(self.transfer)

    @property
    def stored_schema(self) -> pa.Schema:
        """Arrow types of what is stored; for transfers through a function."""
        return pa.schema([(c.name, arrow_type_of(c)) for c in self.target_columns])


def plan_transfer(
    source: psycopg.Connection,
    target: psycopg.Connection,
    transfer: Transfer,
    *,
    is_rehearsal: bool = False,
) -> TransferPlan:
    """Describe both sides, create the target if it is absent, and compare.

    Args:
        target: A table that is created is committed on it, once both sides are known to fit.
        is_rehearsal: Roll it back instead: nothing is left of looking.

    Raises:
        SchemaMismatch: Source and target do not fit; says which columns and how to cast.
    """
    with reading(transfer):
        sent = describe_statement(source, SourceStatement(transfer).select())
        source.rollback()
    _check_names(transfer, sent)
    is_absent = not _exists(target, transfer.target)
    if is_absent:
        _create(target, transfer, sent)
    stored = _describe_target(target, transfer, sent)
    if not transfer.python_transform:
        _compare(transfer, sent, stored)
    _check_table(target, transfer, stored)
    if is_rehearsal:
        target.rollback()
    else:
        target.commit()
    types = {column.name: column.type_name for column in stored}
    return TransferPlan(
        transfer,
        _contract(transfer, stored),
        sent,
        stored,
        window_type=types.get(transfer.window_column, ""),
        creates_target=is_absent,
    )


def _contract(transfer: Transfer, stored: Sequence[ResultColumn]) -> TableContract:
    types = ",".join(f"{column.name} {column.type_name}" for column in stored)
    is_full = transfer.mode is TransferMode.FULL
    return TableContract(
        target=transfer.target,
        # Opaque: the bytes go from server to server, and only their type is known here.
        columns=pa.schema(
            [
                (column.name, pa.opaque(pa.null(), column.type_name, "PostgreSQL"))
                for column in stored
            ]
        ),
        key=transfer.key,
        disposition=Disposition.REPLACE if is_full else Disposition.MERGE,
        window_column=transfer.window_column or None,
        version=hashlib.sha256(types.encode()).hexdigest()[:16],
        personal=transfer.personal_names,
    )


def _check_names(transfer: Transfer, sent: Sequence[ResultColumn]) -> None:
    names = [column.name for column in sent]
    repeated = sorted({name for name in names if names.count(name) > 1})
    wanted = [*transfer.key, *([transfer.window_column] if transfer.window_column else [])]
    missing = [name for name in wanted if name not in names]
    if transfer.python_transform:
        missing = []
    if repeated or missing or "load_id" in names:
        raise SchemaMismatch(
            f"{transfer.origin}: the source sends {', '.join(names)}; sent twice: "
            f"{', '.join(repeated) or 'none'}, missing: {', '.join(missing) or 'none'}; load_id is "
            f"ours; correct columns or transform of [tables.transfers.{transfer.name}]"
        )


def _exists(conn: psycopg.Connection, target: str) -> bool:
    name = table_identifier(target).as_string(conn)
    return conn.execute("SELECT to_regclass(%s)", (name,)).fetchone() != (None,)


def _create(conn: psycopg.Connection, transfer: Transfer, sent: Sequence[ResultColumn]) -> None:
    if transfer.python_transform or not transfer.create_target:
        why = (
            "a function decides on its columns"
            if transfer.python_transform
            else ("create_target = false")
        )
        raise SchemaMismatch(
            f"{transfer.target} does not exist, and is not created because {why}; create it with "
            f"the columns to store, a primary key ({', '.join(transfer.key)}) and load_id bigint"
        )
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            written(column.type_name),
            sql.SQL(" NOT NULL" if column.name in transfer.key else ""),
        )
        for column in sent
    ]
    schema, _, table = transfer.target.partition(".")
    ensure_schema(conn, schema)
    conn.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} ({}, load_id bigint NOT NULL, "
            "CONSTRAINT {} PRIMARY KEY ({}))"
        ).format(
            table_identifier(transfer.target),
            sql.SQL(", ").join(columns),
            sql.Identifier(f"{table}_pkey"[:63]),
            column_list(transfer.key),
        )
    )


def _describe_target(
    conn: psycopg.Connection, transfer: Transfer, sent: Sequence[ResultColumn]
) -> tuple[ResultColumn, ...]:
    everything = describe_statement(
        conn, sql.SQL("SELECT * FROM {}").format(table_identifier(transfer.target))
    )
    by_name = {column.name: column for column in everything}
    if transfer.python_transform:
        return tuple(column for column in everything if column.name != "load_id")
    absent = [column.name for column in sent if column.name not in by_name]
    if absent:
        raise SchemaMismatch(
            f"{transfer.target}: has no column {', '.join(absent)}, which the source sends; name "
            f"the columns to read in [tables.transfers.{transfer.name}], or add them to the table"
        )
    return tuple(by_name[column.name] for column in sent)


def _compare(
    transfer: Transfer, sent: Sequence[ResultColumn], stored: Sequence[ResultColumn]
) -> None:
    same_database = transfer.is_same_database
    differing = [
        (theirs, ours)
        for theirs, ours in zip(sent, stored, strict=True)
        if not theirs.is_same_type(ours, same_database=same_database)
    ]
    if differing:
        seen = "; ".join(
            f"'{a.name}' is {a.type_name} there, {b.type_name} here" for a, b in differing
        )
        casts = ", ".join(f'"{a.name}::{b.type_name} AS {a.name}"' for a, b in differing)
        raise SchemaMismatch(
            f"{transfer.origin} -> {transfer.target}: {seen}; expected equal types; leave these "
            f"columns out of `columns` and cast them: transform = [{casts}]"
        )


def _check_table(
    conn: psycopg.Connection, transfer: Transfer, stored: Sequence[ResultColumn]
) -> None:
    """What merging needs: a unique key, and values that can be compared."""
    target = table_identifier(transfer.target)
    names = column_list(column.name for column in stored)
    key = column_list(transfer.key)
    try:
        conn.execute(
            sql.SQL(
                "EXPLAIN INSERT INTO {} ({}) SELECT {} FROM {} WHERE FALSE "
                "ON CONFLICT ({}) DO NOTHING"
            ).format(target, key, key, target, key)
        )
        conn.execute(
            sql.SQL("EXPLAIN SELECT ROW({}) IS NOT DISTINCT FROM ROW({}) FROM {}").format(
                names, names, target
            )
        )
    except pg_errors.InvalidColumnReference as error:
        listed = ", ".join(transfer.key)
        raise SchemaMismatch(
            f"{transfer.target} is not unique by ({listed}), expected a primary key or unique "
            f"index over exactly these columns; create one, or correct key of "
            f"[tables.transfers.{transfer.name}]"
        ) from error
    except (pg_errors.UndefinedFunction, pg_errors.UndefinedColumn) as error:
        raise SchemaMismatch(
            f"{transfer.target}: {error.diag.message_primary}; expected types whose values can be "
            "compared, and the columns of the key; use jsonb for json and text for xml"
        ) from error
