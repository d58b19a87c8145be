"""Publishers of one load check their windows in the order of the windows.

A window is compared with the one before it, which another connection may just be writing: looked
for too early it is not there yet, and the comparison is with an older one.
"""

import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

# The order makes verdicts better and is never what makes a load correct: whoever is kept waiting
# for longer, by a lock of somebody else for instance, goes on without it.
_PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class Turns:
    """The order of the groups of one load."""

    patience_seconds: float = _PATIENCE_SECONDS
    _last: int = 0
    _open: set[int] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self) -> "Turn":
        """The next turn; it keeps later ones waiting until it ends."""
        with self._changed:
            self._last += 1
            self._open.add(self._last)
            return Turn(self, self._last)

    def wait(self, number: int) -> bool:
        """Wait until every turn before this one has ended.

        Returns:
            False if one of them lasts too long.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: min(self._open, default=number) >= number, self.patience_seconds
            )

    def end(self, number: int) -> None:
        """Let later turns go on."""
        with self._changed:
            self._open.discard(number)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Turn:
    """One group's place in the order; as a context it ends with the body."""

    turns: Turns
    number: int

    def wait(self) -> bool:
        """See Turns.wait."""
        return self.turns.wait(self.number)

    def end(self) -> None:
        """See Turns.end; ending twice is ending once."""
        self.turns.end(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
