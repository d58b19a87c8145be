"""What every verdict says: whether the promise is kept, what was seen, what was expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How bad a broken promise is."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise about a table, judged.

    Attributes:
        level: OK if it is kept.
        observed: What was seen, also when it is kept.
        expected: What was promised.
        figures: Numbers worth plotting.
    """

    level: Level
    observed: str
    expected: str
    figures: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept."""
        return self.level is Level.OK
