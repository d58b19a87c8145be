"""One chunk of a transfer into its target: staged, merged, accounted for.

Which rows are a chunk, and when it is committed, is said by stream.py and replay.py.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import Position, RejectedRow
from batch_assets.contracts.table import Window
from batch_assets.errors import LedgerImbalance
from batch_assets.ingest.tables.target import TransferPlan, plan_transfer
from batch_assets.ingest.tables.transfer import SCOPE, open_stream
from batch_assets.loading.bulk import copy_stream
from batch_assets.loading.leases import Connector
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.load import read_target
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import Target
from batch_assets.loading.options import LoadOptions
from batch_assets.loading.prepare import RejectLimit, check_window_limits, count_reasons
from batch_assets.loading.refused_rows import merge_isolating
from batch_assets.loading.staging import StagingTable, place_constants
from batch_assets.loading.streams import Part, Stream, StreamOptions
from batch_assets.loading.streams import open_stream as take_stream
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.tables.open import open_snapshot
from batch_assets.sources.tables.transfer import Transfer

_STAGING = sql.Identifier("pg_temp", "batch_assets_part")


@dataclass(slots=True)
class PartWriter:
    """Writes the chunks of one load.

    Attributes:
        rejected: Rows rejected by the chunks that are committed; they count against the limit.
    """

    plan: TransferPlan
    target: Target
    stream: Stream
    limit: RejectLimit
    rejected: list[RejectedRow] = field(default_factory=list)

    def write(
        self,
        conn: psycopg.Connection,
        source: psycopg.Connection,
        conditions: Sequence[sql.Composable],
        position: Position,
        *,
        hold: bool,
    ) -> Part:
        """Copy a chunk to staging, and merge it, in the caller's transaction.

        Args:
            conn: To the target.
            source: The rows are read from it.
            conditions: Which rows.
            position: After the chunk.
            hold: Both are one connection, which reads first and writes then.
        """
        contract, transfer = self.plan.contract, self.plan.transfer
        limit_rows = self.limit.rows
        table = StagingTable(self.target, _STAGING)
        table.create(conn)
        constants = place_constants(1, transfer.origin)
        columns = [*contract.columns.names, *constants]
        with open_stream(self.plan, source, conditions, constants, limit_rows, hold=hold) as stream:
            copy_stream(conn, table.name, columns, stream)
        rejected = list(stream.rejected)
        duplicates = 0
        if table.find_repeated(conn):
            for rows in table.read_conflicts(conn):
                rejected.extend(rows)
            duplicates, _ = table.delete_repeated(conn)
        counts, refused = merge_isolating(
            conn,
            self.target,
            table,
            self.stream.window,
            self.stream.load_id,
            limit_rows=limit_rows,
        )
        rejected = [self._placed(row) for row in (*rejected, *refused)]
        answered = self._answered(conn, table)
        self._check_stored(conn, table)
        table.drop(conn)
        ledger = counts + Ledger(
            read=stream.read,
            duplicate=duplicates,
            rejected=len(rejected),
            skipped=stream.skipped,
        )
        self._check_limit(ledger, rejected)
        # A row that is rejected again, with other values, is one dead letter and not two.
        settled = [*answered, *(row.file for row in rejected)]
        return Part(ledger, rejected, settled, position)

    def _check_limit(self, ledger: Ledger, rejected: Sequence[RejectedRow]) -> None:
        """The error budget is one of the whole run; a chunk that breaks it is not committed."""
        check_window_limits(
            self.stream.resource,
            self.plan.contract,
            self.stream.ledger.read + ledger.read,
            count_reasons([*self.rejected, *rejected]),
            {},
            self.limit,
        )

    def _placed(self, row: RejectedRow) -> RejectedRow:
        """A rejected row under the name of its key, so that it is recognised when it comes again.

        Its number within the chunk says nothing: the next chunk has others. Of a personal column
        the hash of its value recognises it as well.
        """
        personal = self.plan.contract.personal
        keys = {
            name: _digest(value) if name in personal and value is not None else value
            for name, value in self.plan.transfer.key_of(row.original).items()
        }
        return replace(row, row=0, file=f"{row.file} {json.dumps(keys, sort_keys=True)}")

    def _answered(self, conn: psycopg.Connection, table: StagingTable) -> list[str]:
        """Files of open dead letters whose rows are staged now and were not refused."""
        transfer = self.plan.transfer
        is_same_key = sql.SQL(" AND ").join(
            sql.SQL("s.{}::text = coalesce(d.original ->> {}, d.original ->> {})").format(
                sql.Identifier(ours), ours, theirs
            )
            for ours, theirs in zip(transfer.key, transfer.source_keys, strict=True)
        )
        rows = conn.execute(
            read_query("find_answered_letters").format(staging=table.name, is_same_key=is_same_key),
            {
                "target": self.plan.contract.target,
                "scope": SCOPE.name,
                "window_key": self.stream.window.key,
            },
        ).fetchall()
        return [file for (file,) in rows]

    def _check_stored(self, conn: psycopg.Connection, table: StagingTable) -> None:
        """Every staged row is in the target.

        Raises:
            LedgerImbalance: Some are not: a trigger or rule of the target took them.
        """
        is_same_key = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in self.plan.contract.key
        )
        row = conn.execute(
            sql.SQL(
                "SELECT count(*) FROM {} AS s WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})"
            ).format(table.name, self.target.parts.target, is_same_key)
        ).fetchone()
        if row != (0,):
            raise LedgerImbalance(
                f"{self.plan.contract.target}: {row[0] if row else '?'} rows were written and are "
                "not there, expected all of them; the chunk is rolled back; look for triggers, "
                "rules or row security of the target"
            )


@contextmanager
def open_writer(
    connect: Connector, transfer: Transfer, source: Connector, options: LoadOptions
) -> Iterator[PartWriter]:
    """Compare both sides of a transfer, and take its stream.

    Raises:
        LeaseHeld: Another run of the transfer is under way.
        SchemaMismatch: The two sides do not fit; nothing was read.
    """
    with closing(connect()) as conn, open_snapshot(source, transfer) as seen:
        plan = plan_transfer(seen, conn, transfer)
        target = read_target(conn, LoadContext(plan.contract, SCOPE, options.run_id))
        conn.rollback()
    stream_options = StreamOptions(
        lease_seconds=options.lease_seconds,
        lease_wait_seconds=options.lease_wait_seconds,
        run_id=options.run_id,
    )
    window = Window(transfer.name)
    with take_stream(connect, [plan.contract], SCOPE, window, stream_options) as stream:
        yield PartWriter(plan, target, stream, options.reject_limit)


def _digest(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}"
