"""What one shard writes in one transaction: its rows of one batch, and its place in each file."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.batch import RejectedRow
from batch_assets.errors import LedgerImbalance
from batch_assets.ingest.devices.effects import DeviceEffects, PartEffects
from batch_assets.ingest.devices.shadow import run_chosen_code
from batch_assets.ingest.devices.shards import StoredMap, require_map_version
from batch_assets.loading.batch_metrics import BatchClock
from batch_assets.loading.device_tables import (
    stage_device_tables,
    write_device_periods,
    write_device_records,
)
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.streams import Part
from batch_assets.postgres.names import table_identifier
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.bodies import DeviceBatch
from batch_assets.sources.devices.parse import CONTRACTS, RecordKind
from batch_assets.sources.devices.shards import BUCKETS, bucket_of, buckets_of


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Where the rows of one file are among those of a batch.

    Attributes:
        file_id: Row of devices.files.
        path: Of the file, as dead letters and the position of the stream call it.
        offset: Row n of the file is row offset + n of the batch.
        last_row: All rows of the file up to this one are in the batch or before it.
        is_last: The file ends here.
    """

    file_id: int
    path: str
    offset: int
    last_row: int
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class ShardPart:
    """Rows of one batch that belong to one shard.

    Attributes:
        spans: The files, in the order of their offsets; at least one.
        rows: By kind, with row numbers of the batch.
        rejected: Dead letters, with row numbers of the batch.
    """

    spans: Sequence[FileSpan]
    rows: Mapping[RecordKind, pa.RecordBatch] = field(default_factory=dict)
    rejected: Sequence[RejectedRow] = ()

    @property
    def row_count(self) -> int:
        """Rows to write or reject."""
        return sum(int(rows.num_rows) for rows in self.rows.values()) + len(self.rejected)

    def located(self) -> list[RejectedRow]:
        """Dead letters with file and row as a person finds them."""
        offsets = [span.offset for span in self.spans]
        found = []
        for row in self.rejected:
            span = self.spans[bisect_left(offsets, row.row) - 1]
            found.append(replace(row, file=span.path, row=row.row - span.offset))
        return found


Progress = Mapping[int, Sequence[int]]
"""By row of devices.files the last row committed for each bucket; absent where none is."""


def split_batch(
    batch: DeviceBatch, stored: StoredMap, spans: Sequence[FileSpan], progress: Progress
) -> dict[int, ShardPart]:
    """Give each shard its rows of a batch; where a file ends, each shard gets to know it.

    Args:
        spans: Whose rows they are.

    Raises:
        LedgerImbalance: The reader counted other rows than it handed over.
    """
    handed_over = sum(rows.num_rows for rows in batch.rows.values()) + len(batch.rejected)
    if handed_over != batch.read_rows:
        raise LedgerImbalance(
            f"{spans[-1].path}, and {len(spans) - 1} files before it: up to row {batch.last_row} "
            f"of them, {batch.read_rows} rows were read and {handed_over} handed over; nothing of "
            "them was published; report this with the files"
        )
    committed = _Committed.of(spans, progress)
    kinds = {kind: _by_shard(rows, stored, committed) for kind, rows in batch.rows.items()}
    rejected: dict[int, list[RejectedRow]] = {}
    for row in batch.rejected:
        bucket = bucket_of(row.original.get("device_sn") or "")
        if committed is None or committed.is_left(np.array([row.row]), np.array([bucket]))[0]:
            rejected.setdefault(stored.shards[bucket], []).append(row)
    parts = {
        shard: ShardPart(
            spans,
            rows={kind: shards[shard] for kind, shards in kinds.items() if shard in shards},
            rejected=rejected.get(shard, ()),
        )
        for shard in sorted(set(stored.shards))
    }
    has_ends = any(span.is_last for span in spans)
    return {shard: part for shard, part in parts.items() if has_ends or part.row_count}


@dataclass(frozen=True, slots=True)
class _Committed:
    """Rows of a batch that earlier loads have committed.

    Attributes:
        offsets: Of the files, ascending.
        limits: By file and bucket the last row of the batch that is committed.
    """

    offsets: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    limits: "np.ndarray[tuple[int, int], np.dtype[np.int64]]"

    @classmethod
    def of(cls, spans: Sequence[FileSpan], progress: Progress) -> "_Committed | None":
        """What is known of some files; None where that is nothing."""
        if not any(span.file_id in progress for span in spans):
            return None
        offsets = np.array([span.offset for span in spans], np.int64)
        nothing = [0] * BUCKETS
        rows = np.array([progress.get(span.file_id, nothing) for span in spans], np.int64)
        return cls(offsets, offsets[:, np.newaxis] + rows)

    def is_left(self, numbers: "np.ndarray", buckets: "np.ndarray") -> "np.ndarray":
        """Of rows of the batch, whether they are still to be written."""
        places = np.searchsorted(self.offsets, numbers, side="left") - 1
        left: np.ndarray = numbers > self.limits[places, buckets]
        return left


def _by_shard(
    rows: pa.RecordBatch, stored: StoredMap, committed: _Committed | None
) -> dict[int, pa.RecordBatch]:
    buckets = buckets_of(rows.column("device_sn"))
    if committed is not None:
        is_left = pa.array(
            committed.is_left(rows.column("row_number").to_numpy(), buckets.to_numpy())
        )
        rows, buckets = rows.filter(is_left), buckets.filter(is_left)
    shards = pa.array(stored.shards, pa.int16()).take(buckets)
    found = {
        shard: rows.filter(pc.equal(shards, pa.scalar(shard, pa.int16())))
        for shard in shards.unique().to_pylist()
    }
    return {shard: part for shard, part in found.items() if part.num_rows}


def write_part(
    conn: psycopg.Connection,
    load_id: int,
    part: ShardPart,
    stored: StoredMap,
    shard: int,
    clock: BatchClock,
    effects: DeviceEffects,
) -> Part:
    """Write a part in the caller's transaction: its three kinds of rows, and its place in the file.

    Raises:
        ShardMapChanged: It was split by a map that is no longer in force.
    """
    require_map_version(conn, stored.version)
    clock.row_count = part.row_count
    ledger = write_rows(conn, load_id, part.rows, clock, effects)
    ledger += Ledger(read=len(part.rejected), rejected=len(part.rejected))
    _record_progress(conn, part.spans, stored, shard)
    last = part.spans[-1]
    return Part(ledger, part.located(), position={"file": last.path, "row": last.last_row})


def write_rows(
    conn: psycopg.Connection,
    load_id: int,
    rows: Mapping[RecordKind, pa.RecordBatch],
    clock: BatchClock,
    effects: DeviceEffects,
) -> Ledger:
    """Write rows of all kinds, and what follows from them, in the caller's transaction.

    Returns:
        The server's counts.
    """
    stage_device_tables(conn)
    ledger = Ledger()
    following = PartEffects(conn, load_id, effects, clock)
    for kind, batch in rows.items():
        if kind is RecordKind.RECORDS:
            chosen = run_chosen_code(conn, load_id, batch)
            left_out = batch.num_rows - chosen.num_rows
            follow = partial(following.follow_records, chosen)
            ledger += write_device_records(conn, load_id, chosen, before_latest=follow)
            ledger += Ledger(read=left_out, skipped=left_out)
        else:
            target = table_identifier(CONTRACTS[kind].target)
            follow = partial(following.follow_periods, target, batch)
            ledger += write_device_periods(conn, load_id, target, batch, before_merge=follow)
    following.queue_messages()
    return ledger


def _record_progress(
    conn: psycopg.Connection, spans: Sequence[FileSpan], stored: StoredMap, shard: int
) -> None:
    ended = [span for span in spans if span.is_last]
    if ended:
        # Before the rows that refer to them: two shards that end together take turns here. All of
        # them in the order of their ids, so that nobody waits for somebody who waits for him.
        conn.execute(
            "SELECT FROM devices.files WHERE file_id = ANY (%s) ORDER BY file_id FOR NO KEY UPDATE",
            ([span.file_id for span in ended],),
        )
    conn.execute(
        read_query("record_device_progress"),
        {
            "file_ids": [span.file_id for span in spans],
            "last_rows": [span.last_row for span in spans],
            "map_version": stored.version,
            "shard": shard,
            "buckets": stored.buckets_of(shard),
        },
    )
    if ended:
        conn.execute(
            read_query("finish_device_files"),
            {
                "file_ids": [span.file_id for span in ended],
                "last_rows": [span.last_row for span in ended],
            },
        )
