"""What partitions took, and what each run has still to do. Pure, without NumPy.

A cycle is the time from the end of a run's former partition to the end of this one: it includes
what lies between two partitions, so that cycles add up to the time a run takes.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise

from batch_assets.runs.eta import PartitionTime, Remaining

PASSED_OVER = "skipped"

# Longer than that between two runs, and somebody paused, or nobody was there to begin.
_LONGEST_START_SECONDS = 120.0
# Of a run in a process of its own, where no run has been seen to follow another.
_START_SECONDS = 8.0


@dataclass(slots=True)
class Cycles:
    """Seconds of each cycle, in order of their ends.

    Attributes:
        work: Of partitions that were loaded, or failed.
        skipped: Of those passed over.
        starts: From the end of a run to the first partition of the next one.
        by_weekday: Partitions passed over, and all, by day of the week; key None for other keys.
        lanes: Runs that worked at once, at most.
    """

    work: list[float] = field(default_factory=list)
    skipped: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    by_weekday: dict[int | None, tuple[int, int]] = field(default_factory=dict)
    lanes: int = 0


def weekday_of(key: str) -> int | None:
    """0 for Monday; None where the key is no date."""
    try:
        return date.fromisoformat(key[:10]).weekday()
    except ValueError:
        return None


def measure_cycles(history: Sequence[PartitionTime]) -> Cycles:
    """Measure the cycles of partitions that ended, in order of their ends."""
    found = Cycles()
    last_end: dict[str | None, datetime] = {}
    began: dict[str | None, datetime] = {}
    for item in history:
        since = max(item.started_at, last_end.get(item.run_id, item.started_at))
        if item.run_id in last_end:
            since = min(since, last_end[item.run_id])
        seconds = max((item.finished_at - since).total_seconds(), 0.0)
        is_skipped = item.state == PASSED_OVER
        (found.skipped if is_skipped else found.work).append(seconds)
        day = weekday_of(item.key)
        skipped, total = found.by_weekday.get(day, (0, 0))
        found.by_weekday[day] = (skipped + is_skipped, total + 1)
        began.setdefault(item.run_id, item.started_at)
        last_end[item.run_id] = item.finished_at
    _measure_runs(found, began, last_end)
    return found


def _measure_runs(
    found: Cycles, began: dict[str | None, datetime], ended: dict[str | None, datetime]
) -> None:
    """Count the runs at once and time the changes between them."""
    lanes: list[datetime] = []
    for run, start in sorted(began.items(), key=lambda item: item[1]):
        free = [number for number, end in enumerate(lanes) if end <= start]
        if not free:
            lanes.append(ended[run])
            continue
        newest = max(free, key=lambda number: lanes[number])
        gap = (start - lanes[newest]).total_seconds()
        if gap <= _LONGEST_START_SECONDS:
            found.starts.append(gap)
        lanes[newest] = ended[run]
    found.lanes = len(lanes)


def start_seconds(cycles: Cycles) -> float:
    """How long a run takes to begin once another has made room for it."""
    starts = sorted(cycles.starts)
    return starts[len(starts) // 2] if starts else _START_SECONDS


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left, by who does it.

    Attributes:
        lanes: Keys of each run that works now, oldest first; its next or running one comes first.
            An empty one takes from the queue at once.
        queue: Keys of each run to come, in the order they begin.
    """

    lanes: list[list[str]]
    queue: list[list[str]]


def split_rest(history: Sequence[PartitionTime], remaining: Remaining, lanes: int) -> Rest:
    """Tell what each run has still to do.

    A run takes neighbouring partitions, oldest first: what follows its newest one is its own, up
    to the next partition that another run has begun, and to the most a run takes.
    """
    run_of = {item.key: item.run_id for item in history}
    done: dict[str | None, int] = defaultdict(int)
    for item in history:
        done[item.run_id] += 1
    most = remaining.run_partitions or _most_of_run(run_of, remaining)
    working: list[list[str]] = []
    queue: list[list[str]] = []
    for owner, keys in _stretches(run_of, remaining):
        left = max(most - done[owner], 0) if owner is not None else 0
        # A partition that is being loaded has a run, also where none of its run has ended.
        if not left and keys[0] in remaining.running_since:
            left = most
        own, later = keys[:left], keys[left:]
        if own:
            working.append(own)
        queue += [later[at : at + most] for at in range(0, len(later), most)]
    # A run that was held or died left some, too: no more work at once than ever did.
    working.sort(key=lambda keys: keys[0] not in remaining.running_since)
    working, queue = working[:lanes], working[lanes:] + queue
    working += [[] for _ in range(lanes - len(working))]
    return Rest(working, queue)


def _most_of_run(run_of: dict[str, str | None], remaining: Remaining) -> int:
    """How many partitions a run takes: those between the first ones of two runs."""
    left = set(remaining.keys)
    seen: set[str | None] = set()
    firsts: list[int] = []
    keys = sorted({*run_of, *left})
    for position, key in enumerate(keys):
        if key not in left and run_of[key] not in seen:
            seen.add(run_of[key])
            firsts.append(position)
        elif key in remaining.running_since and position and keys[position - 1] in left:
            firsts.append(position)
    return max((later - first for first, later in pairwise(firsts)), default=len(keys))


def _stretches(
    run_of: dict[str, str | None], remaining: Remaining
) -> list[tuple[str | None, list[str]]]:
    """Neighbouring keys without an outcome, each with the run of the one before."""
    left = set(remaining.keys)
    found: list[tuple[str | None, list[str]]] = []
    owner: str | None = None
    is_open = False
    for key in sorted({*run_of, *left}):
        if key not in left:
            owner, is_open = run_of[key], False
            continue
        if not is_open or key in remaining.running_since:
            found.append((None if is_open else owner, []))
            is_open = True
        found[-1][1].append(key)
    return found
