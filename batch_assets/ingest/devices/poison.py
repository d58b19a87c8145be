"""Rows that the database refuses: found by halving their batch, and kept as dead letters.

What a batch can be refused for is known only from the answer. The halves are published one after
the other, so that every other row is written, in its order; the row that is left alone is a dead
letter with the answer as its reason.
"""

from collections.abc import Mapping
from dataclasses import replace

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors as pg_errors

from batch_assets.contracts.batch import Original, RejectedRow, Violation
from batch_assets.errors import DataError
from batch_assets.ingest.devices.effects import DeviceEffects
from batch_assets.ingest.devices.parts import ShardPart, write_part
from batch_assets.ingest.devices.shards import StoredMap
from batch_assets.loading.batch_metrics import BatchOrigin, publish_measured
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.streams import Stream
from batch_assets.sources.devices.parse import RecordKind

# What rows can be blamed for. A missing column or a server that is gone concerns all of them.
POISON = (
    psycopg.DataError,
    psycopg.IntegrityError,
    pg_errors.RaiseException,
    DataError,
    pa.ArrowException,
    ValueError,
)


def publish_part(
    stream: Stream, part: ShardPart, stored: StoredMap, shard: int, effects: DeviceEffects
) -> Ledger:
    """Publish a part; rows that are refused become dead letters, the others are written.

    Raises:
        BatchAssetsError: As of `Stream.publish`.
    """
    try:
        return publish_measured(
            stream,
            lambda conn, clock: write_part(
                conn, stream.load_id, part, stored, shard, clock, effects
            ),
            shard=shard,
            origin=BatchOrigin.FILE,
        ).ledger
    except POISON as error:
        numbers = _row_numbers(part)
        if not numbers:
            raise
        if len(numbers) > 1:
            first, rest = _halve(part, numbers[(len(numbers) - 1) // 2])
            ledger = publish_part(stream, first, stored, shard, effects)
            return ledger + publish_part(stream, rest, stored, shard, effects)
        alone = _refused_part(part, error)
    return publish_measured(
        stream,
        lambda conn, clock: write_part(conn, stream.load_id, alone, stored, shard, clock, effects),
        shard=shard,
        origin=BatchOrigin.FILE,
    ).ledger


def refused_by_database(error: Exception) -> Violation:
    """Why a row is a dead letter: what the database, or our own code, said to it."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return Violation(
        "refused",
        "",
        " ".join((said or str(error)).split())[:500],
        "a row that the tables of devices accept",
        "look at the constraints and triggers of devices.records, then replay it",
    )


def _row_numbers(part: ShardPart) -> list[int]:
    """Rows of the batch that a write can fail at, in order."""
    found: set[int] = set()
    for rows in part.rows.values():
        found.update(rows.column("row_number").to_pylist())
    return sorted(found)


def _halve(part: ShardPart, middle: int) -> tuple[ShardPart, ShardPart]:
    """The rows up to one, and those after it; files that end between them are of the first part."""

    def rows_where(is_first: bool) -> Mapping[RecordKind, pa.RecordBatch]:
        chosen = {
            kind: rows.filter(
                (pc.less_equal if is_first else pc.greater)(rows.column("row_number"), middle)
            )
            for kind, rows in part.rows.items()
        }
        return {kind: rows for kind, rows in chosen.items() if rows.num_rows}

    ends_before = [span for span in part.spans if span.offset + span.last_row <= middle]
    begun = [
        replace(span, last_row=middle - span.offset, is_last=False)
        for span in part.spans[len(ends_before) :]
        if span.offset < middle
    ]
    first = ShardPart(
        [*ends_before, *begun],
        rows=rows_where(True),
        rejected=[row for row in part.rejected if row.row <= middle],
    )
    rest = ShardPart(
        part.spans[len(ends_before) :],
        rows=rows_where(False),
        rejected=[row for row in part.rejected if row.row > middle],
    )
    return first, rest


def _refused_part(part: ShardPart, error: Exception) -> ShardPart:
    violation = refused_by_database(error)
    refused = [
        RejectedRow("", number, (violation,), original)
        for rows in part.rows.values()
        for number, original in _originals(rows)
    ]
    return ShardPart(part.spans, rejected=[*part.rejected, *refused])


def _originals(rows: pa.RecordBatch) -> list[tuple[int, Original]]:
    """Rows as the file had them, as far as they were typed."""
    return [
        (
            row.pop("row_number"),
            {name: None if value is None else str(value) for name, value in row.items()},
        )
        for row in rows.to_pylist()
    ]
