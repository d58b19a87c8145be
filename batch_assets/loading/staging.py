"""Windows larger than one chunk: staged chunk by chunk, published in one transaction.

Each chunk is committed with its checkpoint, so a crash costs one chunk. The staging table is
LOGGED: an unlogged one is empty after a server crash while its checkpoints still count its rows.
Publishing compares the rows that are there with the sum of the checkpoints.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
import pyarrow as pa
from psycopg import sql

from batch_assets.contracts.batch import RejectedRow, Violation
from batch_assets.errors import LedgerImbalance
from batch_assets.loading.copy import copy_batches
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import Target, forbid_nested_loops, prefixed
from batch_assets.loading.prepare import WindowSource
from batch_assets.postgres.names import column_list
from batch_assets.postgres.sql_files import read_query

_PLACE_FIELDS = (
    pa.field("chunk_no", pa.int32()),
    pa.field("place_file", pa.string()),
    pa.field("place_sheet", pa.string()),
    pa.field("place_row", pa.int64()),
)


def place_constants(chunk_no: int, source_file: str) -> dict[str, int | str]:
    """The place columns of a stream whose rows have no numbers in their source."""
    return {"chunk_no": chunk_no, "place_file": source_file, "place_sheet": "", "place_row": 0}


def staging_name(resource: str) -> str:
    """The name, in schema staging, of the table of a window's lease."""
    return f"window_{hashlib.sha256(resource.encode()).hexdigest()[:32]}"


# Conflicting rows are read and written in pieces: a source may consist of nothing else.
CONFLICT_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class StagingTable:
    """The persistent staging table of one window."""

    target: Target
    name: sql.Identifier

    @classmethod
    def of(cls, context: LoadContext, target: Target, source: WindowSource) -> "StagingTable":
        """The table of a window; its name is a hash, so that any key gives a valid name."""
        name = staging_name(context.resource(source.window))
        return cls(target, sql.Identifier("staging", name))

    @property
    def schema(self) -> pa.Schema:
        """The contract's columns, and where each row came from."""
        schema = self.target.contract.columns
        for field in _PLACE_FIELDS:
            schema = schema.append(field)
        return schema

    def exists(self, conn: psycopg.Connection) -> bool:
        """Whether an earlier load left the table."""
        row = conn.execute("SELECT to_regclass(%s)", (self.name.as_string(conn),)).fetchone()
        return row is not None and row[0] is not None

    def create(self, conn: psycopg.Connection) -> None:
        """Make the table anew, empty."""
        self.drop(conn)
        conn.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT {}, 0::integer AS chunk_no, ''::text AS place_file, "
                "''::text AS place_sheet, 0::bigint AS place_row FROM {} WITH NO DATA"
            ).format(
                self.name,
                column_list(self.target.contract.columns.names),
                self.target.parts.target,
            )
        )

    def drop(self, conn: psycopg.Connection) -> None:
        """Remove the table, with the publish or when its source has changed."""
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self.name))

    def copy_chunk(
        self,
        conn: psycopg.Connection,
        chunk_no: int,
        pieces: Sequence[tuple[pa.RecordBatch, pa.RecordBatch]],
    ) -> int:
        """COPY rows with their positions.

        Args:
            pieces: Pairs of rows and positions.

        Returns:
            Rows staged.
        """
        return copy_batches(
            conn, self.name, self.schema, (self._placed(chunk_no, *piece) for piece in pieces)
        )

    def _placed(
        self, chunk_no: int, rows: pa.RecordBatch, positions: pa.RecordBatch
    ) -> pa.RecordBatch:
        places = [
            pa.repeat(pa.scalar(chunk_no, pa.int32()), rows.num_rows),
            positions.column("file").cast(pa.string()),
            positions.column("sheet").cast(pa.string())
            if "sheet" in positions.schema.names
            else pa.repeat(pa.scalar(""), rows.num_rows),
            positions.column("row"),
        ]
        return pa.RecordBatch.from_arrays([*rows.columns, *places], schema=self.schema)

    def check_count(self, conn: psycopg.Connection, expected: int) -> None:
        """Refuse a table that does not hold what its checkpoints say.

        Raises:
            LedgerImbalance: Rows were lost or added; the window has to be staged again.
        """
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(self.name)).fetchone()
        found = row[0] if row else 0
        if found != expected:
            raise LedgerImbalance(
                f"{self.name.as_string(conn)} holds {found} rows, its checkpoints say {expected}; "
                "nothing was published; run the load with --force to stage the window again"
            )

    def find_repeated(self, conn: psycopg.Connection) -> bool:
        """Whether any key was staged more than once; they are listed until the commit."""
        forbid_nested_loops(conn)
        return conn.execute(self._read("find_repeated_keys")).rowcount > 0

    def read_conflicts(self, conn: psycopg.Connection) -> Iterator[list[RejectedRow]]:
        """Rows whose key stands for different values, after `find_repeated`.

        Yields:
            At most CONFLICT_ROWS rows each, in the order of the source.
        """
        with conn.cursor(name="staged_conflicts") as cursor:
            cursor.execute(self._read("read_conflicts"))
            while rows := cursor.fetchmany(CONFLICT_ROWS):
                yield [self._conflict(*row) for row in rows]

    def delete_repeated(self, conn: psycopg.Connection) -> tuple[int, int]:
        """Keep one row for each key that `find_repeated` listed, none where copies disagree.

        Returns:
            Equal copies removed, and disagreeing rows removed.
        """
        row = conn.execute(self._read("delete_repeated")).fetchone()
        return (row[0], row[1]) if row else (0, 0)

    def _read(self, name: str) -> sql.Composed:
        contract = self.target.contract
        values = contract.compared_columns
        return read_query(name).format(
            staging=self.name,
            key=column_list(contract.key),
            staged_key=prefixed("s", contract.key),
            staged_values=prefixed("s", values) if values else sql.SQL("1"),
            staged_columns=prefixed("s", contract.columns.names),
            key_match=sql.SQL(" AND ").join(
                sql.SQL("t.{0} = s.{0}").format(sql.Identifier(column)) for column in contract.key
            ),
        )

    def _conflict(self, file: str, sheet: str, row_number: int, *cells: object) -> RejectedRow:
        contract = self.target.contract
        values = dict(zip(contract.columns.names, cells, strict=True))
        original = {name: None if cell is None else str(cell) for name, cell in values.items()}
        window_value = values.get(contract.window_column) if contract.window_column else None
        return RejectedRow(
            file=file,
            sheet=sheet,
            row=row_number,
            violations=(
                Violation(
                    rule="conflicting_duplicate_key",
                    column=contract.key[-1],
                    observed=", ".join(f"{name}={original[name]}" for name in contract.key),
                    expected="one row for each key, or copies that agree in every column",
                    hint="keep the right row and remove the others from the source",
                ),
            ),
            original=original,
            window_value=window_value if isinstance(window_value, date) else None,
        )

    def as_merge_source(self, load_id: int) -> sql.Composed:
        """The staged rows with the columns that publishing writes."""
        return sql.SQL("(SELECT {}, {}::bigint AS load_id FROM {})").format(
            column_list(self.target.contract.columns.names), sql.Literal(load_id), self.name
        )
