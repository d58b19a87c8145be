"""How many rows to commit together: more while commits are quick, half as many when they are slow.

Additive increase, multiplicative decrease (Chiu and Jain, 1989), as in TCP: it settles below the
size at which the server or the memory begins to suffer, and follows when that changes.
"""

from dataclasses import dataclass, field


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
    """

    current_rows: int
    lowest_rows: int = 500
    highest_rows: int = 65_536
    aim_seconds: float = 0.5
    memory_limit_bytes: int = 512 * 1024 * 1024
    course: list[int] = field(default_factory=list)

    def observe(self, seconds: float, resident_bytes: int) -> None:
        """Learn from one committed chunk."""
        self.course.append(self.current_rows)
        if seconds > self.aim_seconds or resident_bytes > self.memory_limit_bytes:
            wanted = self.current_rows // 2
        else:
            wanted = self.current_rows + max(self.lowest_rows, self.highest_rows // 16)
        self.current_rows = min(self.highest_rows, max(self.lowest_rows, wanted))
