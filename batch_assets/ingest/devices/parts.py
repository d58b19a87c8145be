"""What one shard writes in one transaction: its rows of one batch, and how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

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
from batch_assets.sources.devices.shards import bucket_of, buckets_of


@dataclass(frozen=True, slots=True)
class ShardPart:
    """Rows of one batch that belong to one shard.

    Attributes:
        file_id: Row of devices.files.
        path: Of the file, for the position of the stream.
        last_row: All rows of the shard up to this row of the file are in this part or before it.
        is_last: The file ends here.
        rows: By kind.
        rejected: Dead letters.
    """

    file_id: int
    path: str
    last_row: int
    is_last: bool = False
    rows: Mapping[RecordKind, pa.RecordBatch] = field(default_factory=dict)
    rejected: Sequence[RejectedRow] = ()

    @property
    def row_count(self) -> int:
        """Rows to write or reject."""
        return sum(int(rows.num_rows) for rows in self.rows.values()) + len(self.rejected)


def split_batch(
    batch: DeviceBatch, stored: StoredMap, done: Sequence[int], file_id: int, path: str
) -> dict[int, ShardPart]:
    """Give each shard its rows of a batch.

    Args:
        done: For each bucket the last row of the file that is committed.

    Raises:
        LedgerImbalance: The reader counted other rows than it handed over.
    """
    handed_over = sum(rows.num_rows for rows in batch.rows.values()) + len(batch.rejected)
    if handed_over != batch.read_rows:
        raise LedgerImbalance(
            f"{path}: up to row {batch.last_row}, {batch.read_rows} rows were read and "
            f"{handed_over} handed over; nothing of them was published; report this with the file"
        )
    kinds = {kind: _by_shard(rows, stored, done) for kind, rows in batch.rows.items()}
    rejected: dict[int, list[RejectedRow]] = {}
    for row in batch.rejected:
        bucket = bucket_of(row.original.get("device_sn") or "")
        if row.row > done[bucket]:
            rejected.setdefault(stored.shards[bucket], []).append(row)
    parts = {
        shard: ShardPart(
            file_id,
            path,
            batch.last_row,
            rows={kind: shards[shard] for kind, shards in kinds.items() if shard in shards},
            rejected=rejected.get(shard, ()),
        )
        for shard in sorted(set(stored.shards))
    }
    return {shard: part for shard, part in parts.items() if part.row_count}


def _by_shard(
    rows: pa.RecordBatch, stored: StoredMap, done: Sequence[int]
) -> dict[int, pa.RecordBatch]:
    buckets = buckets_of(rows.column("device_sn"))
    if any(done):
        is_left = pc.greater(rows.column("row_number"), pa.array(done, pa.int64()).take(buckets))
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
    _record_progress(conn, part, stored, shard)
    return Part(ledger, part.rejected, position={"file": part.path, "row": part.last_row})


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
    conn: psycopg.Connection, part: ShardPart, stored: StoredMap, shard: int
) -> None:
    if part.is_last:
        # Before the row that refers to it: two shards that end together take turns here.
        conn.execute(
            "SELECT FROM devices.files WHERE file_id = %s FOR NO KEY UPDATE", (part.file_id,)
        )
    conn.execute(
        read_query("record_device_progress"),
        {
            "file_id": part.file_id,
            "map_version": stored.version,
            "shard": shard,
            "buckets": stored.buckets_of(shard),
            "last_row": part.last_row,
        },
    )
    if part.is_last:
        conn.execute(
            read_query("finish_device_file"),
            {"file_id": part.file_id, "last_row": part.last_row},
        )
