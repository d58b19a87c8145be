"""One publishing connection: lease, publish, ledger and commit for one group after the other."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from batch_assets.errors import BatchAssetsError, DatabaseUnavailable, LeaseHeld
from batch_assets.execution.failpoints import reach
from batch_assets.loading.bulk_load import BulkLoad
from batch_assets.loading.checkpoints import read_progress
from batch_assets.loading.chunk_size import ChunkSize
from batch_assets.loading.dead_letters import supersede_dead_letters, write_dead_letters
from batch_assets.loading.failures import Failure, as_refusal, close_failed
from batch_assets.loading.leases import (
    Heartbeat,
    drop_leases,
    release_leases,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import (
    Closing,
    Outcome,
    PublishedWindow,
    close_published,
    read_last_chunk_rows,
    record_outcomes,
)
from batch_assets.loading.opening import open_windows
from batch_assets.loading.oversized import OversizedLoad
from batch_assets.loading.pipeline import Group
from batch_assets.loading.prepare import (
    FailedWindow,
    OversizedWindow,
    PreparedWindow,
    WindowSource,
    count_reasons,
)
from batch_assets.loading.publish import Published, publish_windows
from batch_assets.loading.publishing import Publishing
from batch_assets.loading.report import LoadReport, LoadState, quote
from batch_assets.loading.shared_target import publish_shared
from batch_assets.loading.turns import Turn, Turns

# Between two looks at a window that somebody else is writing.
_LEASE_POLL_SECONDS = 0.2

# Where no earlier load of the table says better.
_FIRST_CHUNK_ROWS = 16_384


@dataclass(slots=True)
class Publisher(Publishing):
    """Publishes groups on one connection, each in one transaction."""

    heartbeat: Heartbeat
    stop: threading.Event

    def publish(self, group: Group) -> Iterator[LoadReport]:
        """Bring one group to its end and report each of its windows."""
        if group.outcomes:
            yield from self._record(group.outcomes)
        for failed in group.failed:
            yield self._record_failed(failed)
        if group.oversized is not None:
            yield from self._publish_oversized(group.oversized)
        if group.prepared:
            with group.turn or Turns().begin() as turn:
                yield from self._publish_prepared(list(group.prepared), turn)

    def _record(self, outcomes: Sequence[Outcome]) -> list[LoadReport]:
        reports = self._write_outcomes(outcomes)
        for outcome, report in zip(outcomes, reports, strict=True):
            if outcome.rejected and not self.context.is_part:
                supersede_dead_letters(self.conn, self.context, outcome.window, report.load_id)
        self.conn.commit()
        return reports

    def _write_outcomes(self, outcomes: Sequence[Outcome]) -> list[LoadReport]:
        reports = record_outcomes(self.conn, self.context, outcomes)
        for outcome, report in zip(outcomes, reports, strict=True):
            write_dead_letters(
                self.conn, self.context, outcome.window, report.load_id, outcome.rejected
            )
        return reports

    def _record_failed(self, failed: FailedWindow) -> LoadReport:
        outcome = Outcome(
            window=failed.window,
            state=LoadState.FAILED,
            reason=type(failed.error).__name__,
            source_file=failed.source.source_file,
            source_hash=failed.source.source_hash,
            ledger=Ledger(read=failed.read, rejected=len(failed.rejected)),
            error=failed.error,
            rejected=failed.rejected,
        )
        # Reading may have ended early: what it did not meet again may still be wrong.
        [report] = self._write_outcomes([outcome])
        self.conn.commit()
        return LoadReport(
            load_id=report.load_id,
            window=failed.window,
            state=LoadState.FAILED,
            reason=outcome.reason,
            ledger=outcome.ledger,
            source_file=outcome.source_file,
            source_hash=outcome.source_hash,
            reject_reasons=count_reasons(failed.rejected),
            quoted_rejects=quote(failed.rejected, self.context.contract),
            error=failed.error,
            seconds=failed.seconds,
        )

    def _publish_prepared(self, pending: list[PreparedWindow], turn: Turn) -> Iterator[LoadReport]:
        deadline = time.monotonic() + self.options.lease_wait_seconds
        while pending:
            tokens, load_ids = self.open_windows([item.source for item in pending])
            mine = [item for item in pending if self.context.resource(item.window) in tokens]
            pending = [item for item in pending if item not in mine]
            if mine:
                with self.holding(tokens, load_ids):
                    yield from self._commit(mine, tokens, load_ids, turn)
            # What somebody else is writing keeps nobody waiting.
            turn.end()
            if pending and time.monotonic() >= deadline:
                yield from self._record([self._held(item.source) for item in pending])
                return
            if pending and self.stop.wait(_LEASE_POLL_SECONDS):
                return

    def _publish_oversized(self, oversized: OversizedWindow) -> Iterator[LoadReport]:
        deadline = time.monotonic() + self.options.lease_wait_seconds
        source = oversized.source
        while True:
            tokens, load_ids = self.open_windows([source])
            if tokens:
                with self.holding(tokens, load_ids):
                    yield self._run_oversized(source, tokens, load_ids[source.window.key])
                return
            if time.monotonic() >= deadline:
                yield from self._record([self._held(source)])
                return
            if self.stop.wait(_LEASE_POLL_SECONDS):
                return

    def _run_oversized(
        self, source: WindowSource, tokens: Mapping[str, int], load_id: int
    ) -> LoadReport:
        load: OversizedLoad | BulkLoad
        if source.bulk is not None and source.bulk.is_small and not self._is_begun(source):
            load = BulkLoad(self, source, source.bulk, tokens, load_id)
        else:
            load = OversizedLoad(self, source, tokens, load_id, self._chunk_size())
        try:
            return load.run()
        except DatabaseUnavailable:
            raise
        except (psycopg.DataError, psycopg.IntegrityError, BatchAssetsError) as error:
            self.conn.rollback()
            refusal = as_refusal(self.context.resource(source.window), error, self.context.contract)
            report = load.close_failed(refusal)
            self.conn.commit()
            return report

    def _is_begun(self, source: WindowSource) -> bool:
        """Whether chunks are staged, so that going on costs less than one stream."""
        begun = read_progress(self.conn, self.context, source).chunk_no > 0
        self.conn.rollback()
        return begun and not self.options.force

    def _chunk_size(self) -> ChunkSize:
        """Begin where the last large load of this table and scope ended."""
        rows = read_last_chunk_rows(self.conn, self.context)
        self.conn.commit()
        return self.options.bounds.begin(rows or _FIRST_CHUNK_ROWS)

    @contextmanager
    def holding(self, tokens: Mapping[str, int], load_ids: Mapping[str, int]) -> Iterator[None]:
        """Renew leases while the body runs; if it fails, give up what is still ours.

        Where the connection is gone too, the leases run out by the database's clock.
        """
        self.heartbeat.add(dict(tokens))
        try:
            yield
        except BaseException as error:
            if not self.conn.broken and not self.conn.closed:
                self._abandon(tokens, load_ids, error)
            raise
        finally:
            self.heartbeat.remove(dict(tokens))

    def _abandon(
        self, tokens: Mapping[str, int], load_ids: Mapping[str, int], cause: BaseException
    ) -> None:
        self.conn.rollback()
        self.conn.execute(
            "UPDATE ops.loads SET state = 'failed', reason = 'interrupted', error_class = %s, "
            "error_message = %s, is_retryable = true, finished_at = clock_timestamp() "
            "WHERE load_id = ANY (%s) AND state = 'running'",
            (type(cause).__name__, str(cause), list(load_ids.values())),
        )
        drop_leases(self.conn, dict(tokens))
        self.conn.commit()

    def open_windows(
        self, windows: Sequence[WindowSource]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Take the leases that are free and open a load for each; both survive a rollback.

        Returns:
            Tokens by resource and load_ids by window key, of the windows obtained.
        """
        reach("publish.before_lease")
        tokens, load_ids = open_windows(
            self.conn, self.context, windows, lease_seconds=self.options.lease_seconds
        )
        reach("publish.after_lease")
        return tokens, load_ids

    def _commit(
        self,
        windows: Sequence[PreparedWindow],
        tokens: Mapping[str, int],
        load_ids: Mapping[str, int],
        turn: Turn,
    ) -> Iterator[LoadReport]:
        """Publish windows in one transaction; if it is refused, each in one of its own."""
        try:
            reports = self._publish_once(windows, tokens, load_ids, turn)
        except (psycopg.DataError, psycopg.IntegrityError, BatchAssetsError) as error:
            self.conn.rollback()
            if isinstance(error, BatchAssetsError) and error.retryable:
                raise
            if len(windows) > 1:
                for item in windows:
                    token = self._token_of(item, tokens)
                    yield from self._commit([item], token, load_ids, turn)
                return
            reports = [self._close_failed(windows[0], error, tokens, load_ids)]
        yield from reports

    def _close_failed(
        self,
        item: PreparedWindow,
        cause: Exception,
        tokens: Mapping[str, int],
        load_ids: Mapping[str, int],
    ) -> LoadReport:
        error = as_refusal(self.context.resource(item.window), cause, self.context.contract)
        failure = Failure.of_prepared(item, load_ids[item.window.key], error)
        report = close_failed(self.conn, self.context, failure, self._token_of(item, tokens))
        self.conn.commit()
        return report

    def _token_of(self, item: PreparedWindow, tokens: Mapping[str, int]) -> dict[str, int]:
        resource = self.context.resource(item.window)
        return {resource: tokens[resource]}

    def _publish_once(
        self,
        windows: Sequence[PreparedWindow],
        tokens: Mapping[str, int],
        load_ids: Mapping[str, int],
        turn: Turn,
    ) -> list[LoadReport]:
        started = time.perf_counter()
        if self.context.contract.shares_target:
            published = publish_shared(self.conn, self.target, windows, load_ids)
        else:
            published = publish_windows(
                self.conn,
                self.context,
                self.target,
                windows,
                load_ids,
                force=self.options.force,
                before_checks=turn.wait,
            )
        reach("publish.after_copy")
        seconds = (time.perf_counter() - started) / len(windows)
        ends = [
            self._end(item, published[item.window.key], load_ids[item.window.key], seconds)
            for item in windows
        ]
        close_published(self.conn, self.context, ends)
        release_leases(self.conn, dict(tokens))
        reach("publish.before_commit")
        self.conn.commit()
        reach("publish.after_commit")
        return [
            self._report(item, published[item.window.key], load_ids[item.window.key], seconds)
            for item in windows
        ]

    def _end(
        self, item: PreparedWindow, published: Published, load_id: int, seconds: float
    ) -> PublishedWindow:
        """Write dead letters; how the load of the window ends is written with those of others."""
        window = item.window
        if item.rejected:
            write_dead_letters(self.conn, self.context, window, load_id, item.rejected)
        closing = Closing(
            load_id=load_id,
            state=published.state,
            reason=published.reason,
            ledger=published.ledger,
            recognised_by=published.recognised_by,
            publish_path=published.path,
            rows_before=published.rows_before,
            rows_after=published.rows_after,
            content_hash=item.content_hash,
            metrics={
                "seconds": {**item.seconds, "publish": round(seconds, 6)},
                "broken_rules": dict(item.broken_counts),
                "size_bytes": item.size_bytes,
                **({"finding": published.message} if published.finding else {}),
            },
        )
        return PublishedWindow(window, item.source.source_hash, closing)

    def _report(
        self, item: PreparedWindow, published: Published, load_id: int, seconds: float
    ) -> LoadReport:
        reasons = count_reasons(item.rejected)
        return LoadReport(
            load_id=load_id,
            window=item.window,
            state=published.state,
            reason=published.reason,
            message=published.message,
            ledger=published.ledger,
            recognised_by=published.recognised_by,
            publish_path=published.path,
            source_file=item.source.source_file,
            source_hash=item.source.source_hash,
            reject_reasons=reasons,
            warnings={
                rule: count for rule, count in item.broken_counts.items() if rule not in reasons
            },
            quoted_rejects=quote(item.rejected, self.context.contract),
            seconds={**item.seconds, "publish": seconds},
        )

    def _held(self, source: WindowSource) -> Outcome:
        resource = self.context.resource(source.window)
        row = self.conn.execute(
            "SELECT holder, acquired_at FROM ops.leases WHERE resource = %s", (resource,)
        ).fetchone()
        holder = f"{row[0]} since {row[1]:%Y-%m-%d %H:%M:%S%z}" if row else "somebody else"
        return Outcome(
            window=source.window,
            state=LoadState.FAILED,
            reason=LeaseHeld.__name__,
            source_file=source.source_file,
            source_hash=source.source_hash,
            error=LeaseHeld(
                f"{resource} is being written by {holder}; waited "
                f"{self.options.lease_wait_seconds:.0f} s for it; nothing was published; "
                "run again when that load has ended"
            ),
        )
