"""From the thread that prepares to the threads that publish: bounded in bytes, grouped by rows.

Windows that wait are published together, because a transaction costs the same for one day as for
ten. What a group holds is decided when a publisher asks for one, so that a fast source fills
groups and a slow one is published as it comes. Preparing belongs in pipeline.py.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from batch_assets.loading.pipeline import Group
from batch_assets.loading.prepare import PreparedWindow
from batch_assets.loading.turns import Turns

# How long a window waits for others to join it, at most.
_PATIENCE_SECONDS = 0.2

# A group is worth its transaction from here on, however little was published before.
_SMALLEST_GROUP_ROWS = 2_000

# Groups begin small and grow with what was published: the first rows are visible soon, and the
# publishers do not wait for each other at the start.
_GROUP_SHARE = 2


@dataclass(slots=True)
class HandOver:
    """Prepared windows on their way to the publishers; drops nothing.

    Attributes:
        limit_bytes: Rows that may be on their way, published ones not yet released included.
        group_rows: Windows join a group until it has this many rows.
        stop: Set when the load ends early; nobody is kept waiting then.
        publishers: Who takes; they share evenly what is left when nothing more comes.
    """

    limit_bytes: int
    group_rows: int
    stop: threading.Event
    publishers: int = 1
    _held_bytes: int = 0
    _taken_rows: int = 0
    _windows: deque[tuple[float, PreparedWindow]] = field(default_factory=deque)
    _others: deque[Group] = field(default_factory=deque)
    _is_reader_blocked: bool = False
    _is_finished: bool = False
    _turns: Turns = field(default_factory=Turns)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, group: Group) -> bool:
        """Add what was prepared; waits for room. One group above the whole limit passes alone.

        Returns:
            False if the load is stopping and the group is not wanted any more.
        """
        size_bytes = group.size_bytes
        with self._changed:
            self._is_reader_blocked = not self._has_room(size_bytes)
            if self._is_reader_blocked:
                self._changed.notify_all()
            self._changed.wait_for(lambda: self.stop.is_set() or self._has_room(size_bytes))
            self._is_reader_blocked = False
            if self.stop.is_set():
                return False
            self._held_bytes += size_bytes
            now = time.monotonic()
            if group.prepared:
                self._windows.extend((now, window) for window in group.prepared)
            else:
                self._others.append(group)
            self._changed.notify()
            return True

    def take(self) -> Group | None:
        """The next group to publish; waits for one.

        Returns:
            None when everything was taken, or the load is stopping.
        """
        with self._changed:
            while not self.stop.is_set():
                if self._others:
                    return self._others.popleft()
                if self._windows and self._is_due():
                    return self._take_windows()
                if self._is_finished and not self._windows:
                    return None
                self._changed.wait(self._patience())
            return None

    def release(self, size_bytes: int) -> None:
        """Give room back: a group of this size is published."""
        with self._changed:
            self._held_bytes -= size_bytes
            self._changed.notify_all()

    def finish(self) -> None:
        """Nothing more is put."""
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Let everybody who waits see that the load is stopping."""
        with self._changed:
            self._changed.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._held_bytes or self._held_bytes + size_bytes <= self.limit_bytes

    def _wanted_rows(self) -> int:
        wanted = self._taken_rows // _GROUP_SHARE
        if self._is_finished:
            # Or one publisher has the last rows, and the others have none.
            wanted = min(wanted, -(-self._waiting_rows() // self.publishers))
        return min(self.group_rows, max(_SMALLEST_GROUP_ROWS, wanted))

    def _waiting_rows(self) -> int:
        return sum(window.rows.num_rows for _, window in self._windows)

    def _is_due(self) -> bool:
        return (
            self._is_finished
            or self._is_reader_blocked
            or self._patience() == 0
            or self._waiting_rows() >= self._wanted_rows()
        )

    def _patience(self) -> float | None:
        """Seconds until the oldest window has waited long enough; None if there is none."""
        if not self._windows:
            return None
        return max(0.0, self._windows[0][0] + _PATIENCE_SECONDS - time.monotonic())

    def _take_windows(self) -> Group:
        wanted = self._wanted_rows()
        taken: list[PreparedWindow] = []
        keys: set[str] = set()
        rows = 0
        # One transaction holds a window once; a second input for it follows in its own.
        while self._windows and rows < wanted and self._windows[0][1].window.key not in keys:
            _, window = self._windows.popleft()
            taken.append(window)
            keys.add(window.window.key)
            rows += window.rows.num_rows
        self._taken_rows += rows
        if self._windows:
            self._changed.notify()
        return Group(prepared=tuple(taken), turn=self._turns.begin())
