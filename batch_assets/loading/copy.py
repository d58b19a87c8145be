"""Send encoded rows with COPY, and count what the server says it stored."""

from collections.abc import Iterable

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.errors import LedgerImbalance
from batch_assets.execution.failpoints import reach
from batch_assets.loading.encode import encode_batches


def copy_batches(
    conn: psycopg.Connection,
    table: sql.Composable,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
) -> int:
    """COPY batches into a table, in the caller's transaction.

    Args:
        table: Quoted name of the table.
        schema: Schema of every batch; its names are the columns written.

    Returns:
        The server's row count.

    Raises:
        LedgerImbalance: The server stored another number of rows than was sent; a binary
            stream that ends early is otherwise accepted in silence.
    """
    sent = 0

    def counted() -> Iterable[pa.RecordBatch]:
        nonlocal sent
        for batch in batches:
            sent += batch.num_rows
            yield batch

    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, schema.names))
    )
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for buffer in encode_batches(schema, counted()):
                copy.write(buffer)
                reach("copy.after_buffer")
        stored = cursor.rowcount
    if stored != sent:
        raise LedgerImbalance(
            f"COPY stored {stored} rows, {sent} were sent; the transaction is rolled back; "
            "try again, and report it if it happens twice"
        )
    return stored
