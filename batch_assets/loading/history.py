"""Former versions of rows: what a contract's history table must look like.

The versions are written by keep_changed.sql and keep_absent.sql, in the publishing transaction and
before the rows change. A first load writes none.
"""

import psycopg

from batch_assets.contracts.table import TableContract
from batch_assets.errors import LedgerImbalance, SchemaMismatch
from batch_assets.loading.column_types import read_columns

# What a history table has beside the columns of its target.
_KNOWN_COLUMNS = {
    "known_from": "timestamp with time zone",
    "known_to": "timestamp with time zone",
    "superseded_by": "bigint",
}


def check_history(conn: psycopg.Connection, contract: TableContract, *, has_revision: bool) -> None:
    """Compare a contract's history table with its target; nothing to do where it has none.

    Raises:
        SchemaMismatch: A column is absent or of another type.
    """
    if contract.history_table is None:
        return
    kept = read_columns(conn, contract.history_table)
    stored = read_columns(conn, contract.target)
    names = [*contract.columns.names, "load_id", *(["revision"] if has_revision else [])]
    wanted = {name: stored[name].type_name for name in names} | _KNOWN_COLUMNS
    problems = [
        f"'{name}' is {kept[name].type_name if name in kept else 'absent'}, expected {type_name}"
        for name, type_name in wanted.items()
        if name not in kept or kept[name].type_name != type_name
    ]
    if problems:
        raise SchemaMismatch(
            f"{contract.history_table}, the history of {contract.target}: {'; '.join(problems)}; "
            "add a migration that gives both tables the same columns"
        )


def check_kept(contract: TableContract, kept_rows: int, replaced_rows: int) -> None:
    """Every version that was replaced or deleted is kept.

    Raises:
        LedgerImbalance: Somebody else wrote to the rows meanwhile.
    """
    if contract.history_table is not None and kept_rows != replaced_rows:
        raise LedgerImbalance(
            f"{contract.history_table}: {kept_rows} versions were kept, {replaced_rows} rows of "
            f"{contract.target} were changed or deleted; the transaction is rolled back; find out "
            "who else writes to this table, then run again"
        )
