"""Measure the batches of a stream: what each took and did, kept in ops.batch_metrics.

A row is written right after the commit of its batch, so that the commit is in its seconds. The
ledger (ops.loads) is what counts rows; this says how fast they went.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import psycopg

from batch_assets.errors import InfrastructureError
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.streams import Part, Stream
from batch_assets.postgres.sql_files import read_query

logger = logging.getLogger(__name__)


class Stage(StrEnum):
    """What a batch spends time on, besides the statements that write its rows."""

    PARSE = "parse"
    ALERTS = "alerts"
    OUTBOX = "outbox"


class BatchOrigin(StrEnum):
    """Where the rows of a batch come from."""

    INBOX = "inbox"
    FILE = "file"


@dataclass(slots=True)
class BatchClock:
    """Adds up what one batch spends on each stage; what is left is the database's.

    Attributes:
        seconds: By stage.
        row_count: Rows that were taken, as soon as that is known.
        waited_seconds: How long the oldest record had waited; None where nothing waits.
    """

    seconds: dict[Stage, float] = field(default_factory=dict)
    row_count: int = 0
    waited_seconds: float | None = None

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Count the body towards a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """Batches of one shard, or of all.

    Attributes:
        shard: None for all together.
        rolled_back: Attempts that left nothing; their rows came again.
        seconds: p50, p95 and p99; so are the three below. None where there is nothing to measure.
    """

    shard: int | None
    batches: int
    rolled_back: int
    row_count: int
    duplicate: int
    rejected: int
    seconds: tuple[float, ...] | None
    database_seconds: tuple[float, ...] | None
    waited_seconds: tuple[float, ...] | None
    rows_per_second: tuple[float, ...] | None


def publish_measured(
    stream: Stream,
    write: Callable[[psycopg.Connection, BatchClock], Part],
    *,
    shard: int,
    origin: BatchOrigin,
) -> Part:
    """Publish one part of a stream, and note what it took; an empty part is not noted.

    Args:
        write: As of `Stream.publish`, with the clock of the attempt.

    Raises:
        BatchAssetsError: As `Stream.publish`; the attempt is noted as rolled back if the
            connection is still good.
    """
    clock = BatchClock()

    def attempt(conn: psycopg.Connection) -> Part:
        nonlocal clock
        clock = BatchClock()
        return write(conn, clock)

    begun = time.perf_counter()
    ledger: Ledger | None = None
    try:
        part = stream.publish(attempt)
        ledger = part.ledger
        return part
    finally:
        seconds = time.perf_counter() - begun
        _note(stream, clock, ledger, shard=shard, origin=origin, seconds=seconds)


def _note(
    stream: Stream,
    clock: BatchClock,
    ledger: Ledger | None,
    *,
    shard: int,
    origin: BatchOrigin,
    seconds: float,
) -> None:
    counted = ledger if ledger is not None else Ledger(read=clock.row_count)
    if not counted.read or stream.conn.closed or stream.conn.broken:
        return
    spent = clock.seconds
    values = {
        **asdict(counted),
        "target": stream.context.contract.target,
        "shard": shard,
        "origin": origin.value,
        "load_id": stream.load_id,
        "is_committed": ledger is not None,
        "seconds": seconds,
        "database_seconds": max(0.0, seconds - sum(spent.values())),
        "alert_seconds": spent.get(Stage.ALERTS, 0.0),
        "outbox_seconds": spent.get(Stage.OUTBOX, 0.0),
        "waited_seconds": clock.waited_seconds,
    }
    try:
        stream.read(lambda conn: conn.execute(read_query("write_batch_metric"), values))
    except InfrastructureError:
        # The batch itself has its end already: this must not tell its caller another one.
        logger.warning("what a batch took could not be noted", exc_info=True)


def summarize_batches(
    conn: psycopg.Connection, target: str, within: timedelta
) -> list[BatchSummary]:
    """Batches that ended lately, by shard; all together last."""
    found = conn.execute(
        read_query("summarize_batches"), {"target": target, "seconds": within.total_seconds()}
    ).fetchall()
    return [BatchSummary(*row[:6], *(_floats(values) for values in row[6:])) for row in found]


def _floats(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None or values[0] is None else tuple(values)


def delete_batch_metrics(conn: psycopg.Connection, before: datetime) -> int:
    """Forget batches that ended before a moment; returns how many. The caller commits."""
    return conn.execute("DELETE FROM ops.batch_metrics WHERE finished_at < %s", (before,)).rowcount
