"""Checkpoints: which chunks of a large window are already staged.

A checkpoint is committed together with its rows and dead letters, and is bound to the source's
hash and the contract: a changed file is never continued at an old position.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg.types.json import Jsonb

from batch_assets.contracts.batch import Position
from batch_assets.execution.failpoints import reach
from batch_assets.loading.loads import LoadContext
from batch_assets.loading.prepare import WindowSource
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class Progress:
    """What earlier chunks of a window added up to.

    Attributes:
        chunk_no: Number of the last chunk, from 1; 0 before the first.
        position: Where the source continues; None at its beginning.
    """

    chunk_no: int = 0
    staged: int = 0
    read: int = 0
    rejected: int = 0
    skipped: int = 0
    position: Position | None = None
    broken: Mapping[str, int] = field(default_factory=dict)


def read_progress(conn: psycopg.Connection, context: LoadContext, source: WindowSource) -> Progress:
    """Progress of the same source under the same contract; none if either has changed."""
    if source.source_hash is None:
        return Progress()
    row = conn.execute(
        read_query("read_checkpoints"),
        {
            **context.common(),
            "resource": context.resource(source.window),
            "source_hash": source.source_hash,
        },
    ).fetchone()
    if row is None:
        return Progress()
    chunk_no, staged, read, rejected, skipped, position, broken = row
    if not position:
        # A source that names no position can only be read from its beginning.
        return Progress()
    total: Counter[str] = Counter()
    for counts in broken:
        total.update(counts)
    return Progress(chunk_no, staged, read, rejected, skipped, position, total)


def read_begun(
    conn: psycopg.Connection, context: LoadContext, sources: Sequence[WindowSource]
) -> set[str]:
    """Keys of windows that have staged chunks, whatever source they came from."""
    keys = {context.resource(source.window): source.window.key for source in sources}
    rows = conn.execute(
        "SELECT DISTINCT resource FROM ops.checkpoints WHERE resource = ANY (%s)", (list(keys),)
    ).fetchall()
    return {keys[resource] for (resource,) in rows}


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one committed chunk held."""

    chunk_no: int
    staged: int
    read: int
    rejected: int
    skipped: int
    position: Position
    broken: Mapping[str, int]


def write_checkpoint(
    conn: psycopg.Connection,
    context: LoadContext,
    source: WindowSource,
    load_id: int,
    chunk: Chunk,
) -> None:
    """Record a chunk in the transaction that stages its rows."""
    conn.execute(
        read_query("write_checkpoint"),
        {
            **context.common(),
            "resource": context.resource(source.window),
            "source_hash": source.source_hash or "",
            "load_id": load_id,
            "chunk_no": chunk.chunk_no,
            "staged_rows": chunk.staged,
            "rows_read": chunk.read,
            "rows_rejected": chunk.rejected,
            "rows_skipped": chunk.skipped,
            "position": Jsonb(dict(chunk.position)),
            "broken_rules": Jsonb(dict(chunk.broken)),
        },
    )
    reach("checkpoint.after_write")


def clear_checkpoints(conn: psycopg.Connection, context: LoadContext, source: WindowSource) -> None:
    """Forget the chunks of a window, with its publish or when its source has changed."""
    conn.execute(
        "DELETE FROM ops.checkpoints WHERE resource = %s", (context.resource(source.window),)
    )
