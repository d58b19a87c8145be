"""How windows are loaded: bounds and limits, none of which changes what is loaded."""

from collections.abc import Callable
from dataclasses import dataclass, field

from batch_assets.loading.chunk_size import ChunkBounds
from batch_assets.loading.prepare import RejectLimit

# One question for 64 windows costs little more than for one, and the first rows still reach the
# database soon.
RECOGNISE_WINDOWS = 64


def always() -> bool:
    """Every window may be begun."""
    return True


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How windows are loaded; none of it changes what is loaded.

    Attributes:
        publish_connections: Windows published at the same time.
        chunk_rows: Rows of a window held in memory; a larger one is staged chunk by chunk.
        chunk_bounds: What the size of such chunks is held to; None for up to `chunk_rows` and the
            defaults.
        group_rows: Windows that wait are published together until they have this many rows; a
            crash costs at most one such group for each connection.
        queue_bytes: Prepared rows that may wait for publishing; the reader blocks above it.
        lease_seconds: How long a silent holder keeps its windows.
        lease_wait_seconds: How long to wait for a window that somebody else is writing.
        reject_limit: When a window fails as a whole.
        recognise_windows: Windows looked up together before the first of them is read; 1 where
            finding out what a window holds is dear, and a crash must not cost many of them.
        force: Compare row by row, whatever the hashes say.
        is_part: The source has a part of each window: what it lacks may still be there.
        run_id: Shown in the ledger.
        may_begin: Asked before each window is read, in the threads of the load; once it says no,
            what was begun ends and nothing else is, without a report.
    """

    publish_connections: int = 2
    chunk_rows: int = 65_536
    chunk_bounds: ChunkBounds | None = None
    group_rows: int = 32_768
    queue_bytes: int = 96 * 1024 * 1024
    lease_seconds: float = 30.0
    lease_wait_seconds: float = 60.0
    reject_limit: RejectLimit = field(default_factory=RejectLimit)
    recognise_windows: int = RECOGNISE_WINDOWS
    force: bool = False
    is_part: bool = False
    run_id: str | None = None
    may_begin: Callable[[], bool] = always

    @property
    def bounds(self) -> ChunkBounds:
        """What chunks are held to."""
        return self.chunk_bounds or ChunkBounds(highest_rows=self.chunk_rows)
