"""How many rows a micro-batch waits for: few when few come, many when they pile up."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class BatchAim:
    """The number of waiting rows at which a batch is taken before its time is up.

    It doubles when a batch was as large as batches may be, since more are waiting then, and
    halves when a batch had to be taken by age: whoever sends little should not wait for company.

    Attributes:
        rows_min: Smallest aim.
        rows_max: Largest aim, and most rows of a batch.
        seconds: A row that has waited so long is taken, however few there are.
    """

    rows_min: int
    rows_max: int
    seconds: float
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = self.rows_min

    def is_met(self, waiting_rows: int, oldest_seconds: float) -> bool:
        """Whether to take a batch now."""
        return waiting_rows > 0 and (waiting_rows >= self.rows or oldest_seconds >= self.seconds)

    def learn(self, taken_rows: int) -> None:
        """Set the next aim by what the last batch had."""
        if taken_rows >= self.rows_max:
            self.rows = min(self.rows_max, 2 * self.rows)
        elif taken_rows < self.rows:
            self.rows = max(self.rows_min, self.rows // 2)
