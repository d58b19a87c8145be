"""How many rows to commit together: more while commits are quick, half as many when they are slow.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in TCP: it settles below the
size at which the server or the memory begins to suffer, and follows when that changes.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ChunkBounds:
    """What a chunk size is held to.

    Attributes:
        lowest_rows: Never below this.
        highest_rows: Never above this.
        aim_seconds: A chunk should take no longer, waits for locks included.
        memory_limit_bytes: Resident memory above which chunks shrink.
    """

    lowest_rows: int = 500
    highest_rows: int = 65_536
    aim_seconds: float = 0.5
    memory_limit_bytes: int = 512 * 1024 * 1024

    def begin(self, rows: int) -> "ChunkSize":
        """A size that begins at `rows`, or as near to it as may be."""
        current = min(self.highest_rows, max(self.lowest_rows, rows))
        return ChunkSize(
            current,
            lowest_rows=self.lowest_rows,
            highest_rows=self.highest_rows,
            aim_seconds=self.aim_seconds,
            memory_limit_bytes=self.memory_limit_bytes,
        )


@dataclass(slots=True)
class ChunkSize:
    """The current chunk size, in rows.

    Attributes:
        current_rows: Size of the next chunk.
        lowest_rows: Never below this.
        highest_rows: Never above this.
        aim_seconds: A commit should take no longer.
        memory_limit_bytes: Resident memory above which chunks shrink.
        course: Sizes used, oldest first; shown in the run's metadata.
        halved: How often chunks became smaller, by reason.
    """

    current_rows: int
    lowest_rows: int = 500
    highest_rows: int = 65_536
    aim_seconds: float = 0.5
    memory_limit_bytes: int = 512 * 1024 * 1024
    course: list[int] = field(default_factory=list)
    halved: dict[str, int] = field(default_factory=dict)

    def observe(self, seconds: float, resident_bytes: int) -> None:
        """Learn from one committed chunk."""
        self.course.append(self.current_rows)
        reason = "memory" if resident_bytes > self.memory_limit_bytes else ""
        if seconds > self.aim_seconds:
            reason = "seconds"
        if reason:
            wanted = self.current_rows // 2
            self.halved[reason] = self.halved.get(reason, 0) + 1
        else:
            wanted = self.current_rows + max(self.lowest_rows, self.highest_rows // 16)
        self.current_rows = min(self.highest_rows, max(self.lowest_rows, wanted))

    def metrics(self) -> dict[str, object]:
        """What the ledger keeps; the next load of the table begins with the last size."""
        return {
            "chunk_rows": self.course,
            "last_chunk_rows": self.current_rows,
            "chunks_halved": self.halved,
        }
