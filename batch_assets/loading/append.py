"""Rows that are small enough to be Python values, appended to the table of a contract."""

from collections.abc import Mapping, Sequence

import psycopg
import pyarrow as pa

from batch_assets.contracts.table import TableContract
from batch_assets.loading.copy import copy_batches
from batch_assets.postgres.names import table_identifier


def append_rows(
    conn: psycopg.Connection,
    contract: TableContract,
    load_id: int,
    rows: Sequence[Mapping[str, object]],
) -> int:
    """COPY rows into the table of a contract, in the caller's transaction.

    Args:
        rows: By column; a column that a row does not have is null.

    Returns:
        The server's row count.
    """
    if not rows:
        return 0
    schema = contract.columns.append(pa.field("load_id", pa.int64()))
    batch = pa.RecordBatch.from_pylist([{**row, "load_id": load_id} for row in rows], schema)
    return copy_batches(conn, table_identifier(contract.target), schema, [batch])
