"""Load one window from a bulk stream, in one transaction.

Into an empty window the stream goes straight to the target. Else it goes to a temporary staging
table, and only the difference is written. What the target refuses is tried again by way of staging,
where the refused rows are found one by one.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from batch_assets.contracts.batch import RejectedRow
from batch_assets.errors import BatchAssetsError
from batch_assets.execution.failpoints import reach
from batch_assets.loading.bulk import BulkFeed, BulkStream, copy_stream
from batch_assets.loading.dead_letters import write_dead_letters
from batch_assets.loading.failures import Failure, close_failed
from batch_assets.loading.leases import drop_leases, release_leases
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import (
    Closing,
    PublishedWindow,
    close_published,
    close_running_load,
)
from batch_assets.loading.prepare import WindowSource, check_window_limits, count_reasons
from batch_assets.loading.publish import check_target
from batch_assets.loading.publishing import Publishing
from batch_assets.loading.refused_rows import merge_isolating
from batch_assets.loading.report import (
    QUOTED_REJECTS,
    LoadReport,
    LoadState,
    PublishPath,
    RecognisedBy,
    quote,
)
from batch_assets.loading.staging import StagingTable, place_constants
from batch_assets.loading.windows import count_windows

_TEMPORARY = sql.Identifier("pg_temp", "batch_assets_bulk")


@dataclass(slots=True)
class BulkLoad:
    """The load of one window, whose lease is held by the caller."""

    publishing: Publishing
    source: WindowSource
    feed: BulkFeed
    tokens: Mapping[str, int]
    load_id: int
    rejected: list[RejectedRow] = field(default_factory=list)
    read: int = 0

    @property
    def conn(self) -> psycopg.Connection:
        """The publishing connection."""
        return self.publishing.conn

    def run(self) -> LoadReport:
        """Copy, merge, publish, report.

        Raises:
            BatchAssetsError: The caller rolls back and closes the load.
        """
        started = time.perf_counter()
        closing = self._direct()
        if closing is None:
            closing = self._merged()
        report = self._end(closing)
        return report if report is not None else self._report(closing, started)

    def _direct(self) -> Closing | None:
        """Into the target; None if the window has rows, or the target refuses some."""
        target, window = self.publishing.target, self.source.window
        before = self._count()
        if before:
            return None
        columns = target.copy_schema.names
        try:
            with self.feed.open({"load_id": self.load_id}) as stream:
                stored = copy_stream(self.conn, target.parts.target, columns, stream)
            reach("bulk.after_copy")
            self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except (psycopg.DataError, psycopg.IntegrityError):
            self.conn.rollback()
            return None
        counts = Ledger(inserted=stored)
        after = self._count()
        check_target(window, counts, before, after)
        return self._closing(stream, counts, PublishPath.DIRECT, before, after)

    def _merged(self) -> Closing:
        """By way of staging; refused and conflicting rows become dead letters."""
        target, window = self.publishing.target, self.source.window
        table = StagingTable(target, _TEMPORARY)
        table.create(self.conn)
        constants = place_constants(1, self.source.source_file)
        columns = [*target.contract.columns.names, *constants]
        with self.feed.open(constants) as stream:
            copy_stream(self.conn, table.name, columns, stream)
        before = self._count()
        duplicates = self._delete_repeated(table)
        counts, refused = merge_isolating(
            self.conn,
            target,
            table,
            window,
            self.load_id,
            limit_rows=self.publishing.options.reject_limit.rows,
        )
        self.rejected.extend(refused)
        table.drop(self.conn)
        after = self._count()
        check_target(window, counts, before, after)
        counts += Ledger(duplicate=duplicates, rejected=len(self.rejected))
        return self._closing(stream, counts, PublishPath.MERGE, before, after)

    def _delete_repeated(self, table: StagingTable) -> int:
        if not table.find_repeated(self.conn):
            return 0
        for rows in table.read_conflicts(self.conn):
            self.rejected.extend(rows)
        duplicates, _ = table.delete_repeated(self.conn)
        return duplicates

    def _count(self) -> int:
        window = self.source.window
        return count_windows(self.conn, self.publishing.target.parts, [window])[window.key]

    def _closing(
        self, stream: BulkStream, counts: Ledger, path: PublishPath, before: int, after: int
    ) -> Closing:
        """Account for everything that was read.

        Raises:
            RejectLimitExceeded: Too many rows were rejected.
            LedgerImbalance: Rows are missing.
        """
        self.read = stream.read
        self.rejected.extend(stream.rejected)
        resource = self.publishing.context.resource(self.source.window)
        check_window_limits(
            resource,
            self.publishing.context.contract,
            stream.read,
            count_reasons(self.rejected),
            Counter(),
            self.publishing.options.reject_limit,
        )
        early = Ledger(read=stream.read, rejected=len(stream.rejected), skipped=stream.skipped)
        ledger = counts + early
        ledger.check(resource)
        return Closing(
            load_id=self.load_id,
            state=LoadState.SUCCESS,
            ledger=ledger,
            recognised_by=RecognisedBy.DIFFERENCE if ledger.unchanged else None,
            publish_path=path,
            rows_before=before,
            rows_after=after,
        )

    def _end(self, closing: Closing) -> LoadReport | None:
        """Commit everything together; a report if there was nothing to publish."""
        if closing.ledger.read == 0 and not self.feed.empty_ok:
            self.conn.rollback()
            return self._close_empty()
        context, window = self.publishing.context, self.source.window
        if self.rejected:
            write_dead_letters(self.conn, context, window, self.load_id, self.rejected)
        published = PublishedWindow(window, self.source.source_hash, closing)
        close_published(self.conn, context, [published])
        release_leases(self.conn, dict(self.tokens))
        reach("publish.before_commit")
        self.conn.commit()
        reach("publish.after_commit")
        return None

    def _close_empty(self) -> LoadReport:
        """Empty is not success: the rows that are there stay, until somebody says otherwise."""
        closing = Closing(self.load_id, LoadState.UNCONFIRMED_EMPTY, Ledger(), reason="no_rows")
        close_running_load(self.conn, closing)
        drop_leases(self.conn, dict(self.tokens))
        self.conn.commit()
        return self._report(closing, time.perf_counter())

    def close_failed(self, error: BatchAssetsError) -> LoadReport:
        """Write the failure, after a rollback."""
        failure = Failure(
            source=self.source,
            load_id=self.load_id,
            error=error,
            ledger=Ledger(read=self.read, rejected=len(self.rejected)),
            rejected=tuple(self.rejected),
            reasons=count_reasons(self.rejected),
            quoted=tuple(self.rejected[:QUOTED_REJECTS]),
        )
        return close_failed(self.conn, self.publishing.context, failure, self.tokens)

    def _report(self, closing: Closing, started: float) -> LoadReport:
        return LoadReport(
            load_id=self.load_id,
            window=self.source.window,
            state=closing.state,
            reason=closing.reason,
            ledger=closing.ledger,
            recognised_by=closing.recognised_by,
            publish_path=closing.publish_path,
            source_file=self.source.source_file,
            reject_reasons=count_reasons(self.rejected),
            quoted_rejects=quote(self.rejected, self.publishing.context.contract),
            seconds={"copy and publish": time.perf_counter() - started},
        )
