"""Load one window that is larger than a chunk: stage it in chunks, then publish it whole."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import psutil
import psycopg

from batch_assets.contracts.batch import Position, RejectedRow
from batch_assets.contracts.validate import ValidatedBatch, validate_batch
from batch_assets.errors import BatchAssetsError, RejectLimitExceeded, WindowRuleBroken
from batch_assets.execution.failpoints import reach
from batch_assets.loading.bulk import BulkFeed, copy_stream
from batch_assets.loading.checkpoints import (
    Chunk,
    Progress,
    clear_checkpoints,
    read_progress,
    write_checkpoint,
)
from batch_assets.loading.chunk_size import ChunkSize
from batch_assets.loading.dead_letters import write_dead_letters
from batch_assets.loading.failures import Failure, close_failed
from batch_assets.loading.leases import release_leases, require_leases
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.loads import Closing, PublishedWindow, close_published
from batch_assets.loading.merge import merge_staged
from batch_assets.loading.prepare import WindowSource, belonging_rules, check_window_limits
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
from batch_assets.loading.shared_target import count_keys, prepare_shared
from batch_assets.loading.staging import StagingTable, place_constants
from batch_assets.loading.window_checks import find_incomplete
from batch_assets.loading.windows import count_windows
from batch_assets.postgres.sql_files import read_query


@dataclass(slots=True)
class OversizedLoad:
    """The load of one large window, whose lease is held by the caller."""

    publishing: Publishing
    source: WindowSource
    tokens: Mapping[str, int]
    load_id: int
    chunk_size: ChunkSize
    table: StagingTable = field(init=False)
    quoted: list[RejectedRow] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    refused: list[RejectedRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        publishing = self.publishing
        self.table = StagingTable.of(publishing.context, publishing.target, self.source)

    @property
    def conn(self) -> psycopg.Connection:
        """The publishing connection."""
        return self.publishing.conn

    def run(self) -> LoadReport:
        """Stage what is missing, publish, report.

        Raises:
            BatchAssetsError: The caller closes the load; staged chunks stay for the next try.
        """
        started = time.perf_counter()
        self._resume()
        self._stage()
        staged_at = time.perf_counter()
        report = self._publish(self.progress)
        seconds = {"stage": staged_at - started, "publish": time.perf_counter() - staged_at}
        return replace(report, seconds=seconds)

    def _resume(self) -> None:
        """Continue an earlier load of the same source, or begin with an empty table."""
        context = self.publishing.context
        progress = read_progress(self.conn, context, self.source)
        force = self.publishing.options.force
        if progress.chunk_no and self.table.exists(self.conn) and not force:
            self.table.check_count(self.conn, progress.staged)
            window = self.source.window
            self.conn.execute(
                read_query("adopt_dead_letters"),
                {
                    **context.common(),
                    "window_key": window.key,
                    "resource": context.resource(window),
                    "load_id": self.load_id,
                },
            )
            self.progress = progress
        else:
            clear_checkpoints(self.conn, context, self.source)
            self.table.create(self.conn)
        self.conn.commit()

    def _stage(self) -> None:
        if self.source.bulk is not None and self.source.bulk.chunks is not None:
            self._stage_streams(self.source.bulk)
            return
        for pieces, read, skipped, position in self._chunks(self.progress.position):
            started = time.perf_counter()
            self._commit_pieces(self.progress, pieces, read, skipped, position)
            resident = psutil.Process().memory_info().rss
            self.chunk_size.observe(time.perf_counter() - started, resident)

    def _stage_streams(self, feed: BulkFeed) -> None:
        """Stage what is missing; the size of the next chunk is asked for when it begins."""
        assert feed.chunks is not None  # noqa: S101 - the caller asked
        size = self.chunk_size
        for chunk in feed.chunks(self.progress.position, lambda: size.current_rows):
            started = time.perf_counter()
            chunk_no = self.progress.chunk_no + 1
            constants = place_constants(chunk_no, self.source.source_file)
            columns = [*self.publishing.context.contract.columns.names, *constants]
            with chunk.open(constants) as stream:
                staged = copy_stream(self.conn, self.table.name, columns, stream)
            self.commit_chunk(
                Chunk(
                    chunk_no=chunk_no,
                    staged=staged,
                    read=stream.read,
                    rejected=len(stream.rejected),
                    skipped=stream.skipped,
                    position=chunk.position,
                    broken={},
                ),
                list(stream.rejected),
            )
            size.observe(time.perf_counter() - started, psutil.Process().memory_info().rss)

    def _chunks(
        self, position: Position | None
    ) -> Iterator[tuple[list[ValidatedBatch], int, int, Position]]:
        """Validated batches, read and skipped rows and the position after them, per chunk."""
        contract, scope = self.publishing.context.contract, self.publishing.context.scope
        rules = belonging_rules(contract, scope, self.source.window)
        pieces: list[ValidatedBatch] = []
        rows = read = skipped = 0
        after: Position = position or {}
        for batch in self.source.read(position):
            validated = validate_batch(batch, contract, rules)
            pieces.append(validated)
            rows += validated.rows.num_rows + len(validated.rejected)
            read += batch.read_rows
            skipped += batch.skipped_rows
            after = batch.resume_after
            if rows >= self.chunk_size.current_rows:
                yield pieces, read, skipped, after
                pieces, rows, read, skipped = [], 0, 0, 0
        if read:
            yield pieces, read, skipped, after

    def _commit_pieces(
        self,
        progress: Progress,
        pieces: list[ValidatedBatch],
        read: int,
        skipped: int,
        position: Position,
    ) -> None:
        """Stage one chunk with its checkpoint and dead letters, in one transaction."""
        broken: Counter[str] = Counter()
        rejected = [row for piece in pieces for row in piece.rejected]
        for piece in pieces:
            broken.update(piece.broken_counts)
        chunk_no = progress.chunk_no + 1
        staged = self.table.copy_chunk(
            self.conn, chunk_no, [(piece.rows, piece.positions) for piece in pieces]
        )
        reach("stage.after_copy")
        chunk = Chunk(chunk_no, staged, read, len(rejected), skipped, position, broken)
        self.commit_chunk(chunk, rejected)

    def commit_chunk(self, chunk: Chunk, rejected: list[RejectedRow]) -> None:
        """Commit staged rows with their checkpoint and dead letters."""
        context, progress = self.publishing.context, self.progress
        write_dead_letters(self.conn, context, self.source.window, self.load_id, rejected)
        write_checkpoint(self.conn, context, self.source, self.load_id, chunk)
        require_leases(self.conn, dict(self.tokens))
        reach("stage.before_commit")
        self.conn.commit()
        reach("stage.after_commit")
        self.quoted.extend(rejected[: QUOTED_REJECTS - len(self.quoted)])
        self.progress = Progress(
            chunk_no=chunk.chunk_no,
            staged=progress.staged + chunk.staged,
            read=progress.read + chunk.read,
            rejected=progress.rejected + chunk.rejected,
            skipped=progress.skipped + chunk.skipped,
            position=chunk.position,
            broken=Counter(progress.broken) + Counter(chunk.broken),
        )

    def _publish(self, progress: Progress) -> LoadReport:
        """Merge the staged rows into the target and commit everything together."""
        context, target = self.publishing.context, self.publishing.target
        window = self.source.window
        self.table.check_count(self.conn, progress.staged)
        duplicates = conflicts = 0
        if self._write_conflicts():
            duplicates, conflicts = self.table.delete_repeated(self.conn)
        reasons = self._check_limits(progress)
        prepare_shared(self.conn, target, self.table.name)
        before = self._count()
        counts = self._merge()
        rejected = progress.rejected + conflicts + len(self.refused)
        if self.refused:
            reasons = self._check_limits(progress)
        after = self._count()
        check_target(window, counts, before, after)
        ledger = counts + Ledger(
            read=progress.read, duplicate=duplicates, rejected=rejected, skipped=progress.skipped
        )
        ledger.check(context.resource(window))
        finding = find_incomplete(self.conn, context, {window.key: after}).get(window.key)
        closing = Closing(
            load_id=self.load_id,
            state=LoadState.PARTIAL if finding else LoadState.SUCCESS,
            reason=finding.reason if finding else "",
            message=finding.message if finding else "",
            ledger=ledger,
            recognised_by=RecognisedBy.DIFFERENCE if counts.unchanged else None,
            publish_path=PublishPath.MERGE,
            rows_before=before,
            rows_after=after,
            metrics={
                **self.chunk_size.metrics(),
                "chunks": progress.chunk_no,
                "broken_rules": dict(progress.broken),
                **({"finding": finding.message} if finding else {}),
            },
        )
        self._commit_publish(closing)
        return self._report(closing, reasons, progress)

    def _check_limits(self, progress: Progress) -> dict[str, int]:
        """Rejected rows by rule, if they are within the limits."""
        context = self.publishing.context
        reasons = self._reasons()
        check_window_limits(
            context.resource(self.source.window),
            context.contract,
            progress.read,
            reasons,
            progress.broken,
            self.publishing.options.reject_limit,
        )
        return reasons

    def _merge(self) -> Ledger:
        """The server's counts; rows that the table refuses become dead letters, where they may."""
        target, window, load_id = self.publishing.target, self.source.window, self.load_id
        if self.source.bulk is None:
            source = self.table.as_merge_source(load_id)
            return merge_staged(self.conn, target, source, [window], [load_id])[load_id]
        counts, self.refused = merge_isolating(
            self.conn,
            target,
            self.table,
            window,
            load_id,
            limit_rows=self.publishing.options.reject_limit.rows,
        )
        write_dead_letters(self.conn, self.publishing.context, window, load_id, self.refused)
        self.quoted.extend(self.refused[: QUOTED_REJECTS - len(self.quoted)])
        return counts

    def _count(self) -> int:
        """Rows of the window in the target; of a shared one, rows with the staged keys."""
        target, window = self.publishing.target, self.source.window
        if target.contract.shares_target:
            staged = self.table.as_merge_source(self.load_id)
            return count_keys(self.conn, target, staged).get(self.load_id, 0)
        return count_windows(self.conn, target.parts, [window])[window.key]

    def _write_conflicts(self) -> bool:
        """Make dead letters of rows that disagree; returns whether any key is repeated."""
        if not self.table.find_repeated(self.conn):
            return False
        context, window = self.publishing.context, self.source.window
        for rows in self.table.read_conflicts(self.conn):
            write_dead_letters(self.conn, context, window, self.load_id, rows)
            # After a failed publish they are found a second time.
            unquoted = [row for row in rows[:QUOTED_REJECTS] if row not in self.quoted]
            self.quoted.extend(unquoted[: QUOTED_REJECTS - len(self.quoted)])
        return True

    def close_failed(self, error: BatchAssetsError) -> LoadReport:
        """Write the failure, after a rollback; staged chunks stay for the next try."""
        if isinstance(error, RejectLimitExceeded | WindowRuleBroken):
            # The rollback took the rows with it that explain why.
            self._write_conflicts()
            context, window = self.publishing.context, self.source.window
            write_dead_letters(self.conn, context, window, self.load_id, self.refused)
        reasons = self._reasons()
        failure = Failure(
            source=self.source,
            load_id=self.load_id,
            error=error,
            ledger=Ledger(read=self.progress.read, rejected=sum(reasons.values())),
            reasons=reasons,
            quoted=tuple(self.quoted[:QUOTED_REJECTS]),
        )
        return close_failed(self.conn, self.publishing.context, failure, self.tokens)

    def _commit_publish(self, closing: Closing) -> None:
        context = self.publishing.context
        source_hash = self.source.source_hash
        published = PublishedWindow(self.source.window, source_hash, closing)
        close_published(self.conn, context, [published])
        clear_checkpoints(self.conn, context, self.source)
        self.table.drop(self.conn)
        release_leases(self.conn, dict(self.tokens))
        reach("publish.before_commit")
        self.conn.commit()
        reach("publish.after_commit")

    def _reasons(self) -> dict[str, int]:
        """Rejected rows of this load by rule, over all chunks, earlier processes' included."""
        rows = self.conn.execute(
            "SELECT rule, count(*) FROM ops.dead_letters "
            "WHERE load_id = %s AND state = 'open' GROUP BY rule ORDER BY count(*) DESC",
            (self.load_id,),
        ).fetchall()
        return dict(rows)

    def _report(
        self, closing: Closing, reasons: Mapping[str, int], progress: Progress
    ) -> LoadReport:
        return LoadReport(
            load_id=self.load_id,
            window=self.source.window,
            state=closing.state,
            reason=closing.reason,
            message=closing.message,
            ledger=closing.ledger,
            recognised_by=closing.recognised_by,
            publish_path=closing.publish_path,
            source_file=self.source.source_file,
            source_hash=self.source.source_hash,
            reject_reasons=reasons,
            warnings={k: v for k, v in progress.broken.items() if k not in reasons},
            quoted_rejects=quote(self.quoted, self.publishing.context.contract),
        )
