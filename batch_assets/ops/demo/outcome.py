"""What the ledger says about the demonstration's days, and whether that is what was expected."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.watch import BackfillState

TARGET = "market.daily_bars"
ROW_OUTCOMES = ("inserted", "updated", "unchanged", "duplicate", "rejected", "skipped")


@dataclass(frozen=True, slots=True)
class DayOutcome:
    """The newest load of one day.

    Attributes:
        day: Trade date, YYYY-MM-DD; or the window of rows without a date.
        state: As in ops.loads.
        message: The failure, for a person.
        read: Rows counted by the reader.
        rows: Rows by outcome, in the order of ROW_OUTCOMES.
        deleted: Rows of the table that the source no longer has.
    """

    day: str
    state: str
    reason: str
    message: str
    read: int
    rows: tuple[int, ...]
    deleted: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that was not loaded: where it is, what is wrong, its symbol."""

    file: str
    row: int
    rule: str
    column: str
    observed: str | None
    expected: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the summary tells.

    Attributes:
        days: One for each window, by date.
        dead_letters: Those open now.
        stored_rows: Rows in the table.
    """

    days: tuple[DayOutcome, ...]
    dead_letters: tuple[DeadLetter, ...] = ()
    stored_rows: int = 0
    by_state: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_state", Counter(day.state for day in self.days))

    @property
    def read(self) -> int:
        """Rows read on all days that did not fail."""
        return sum(day.read for day in self._counted())

    @property
    def rows(self) -> dict[str, int]:
        """Rows by outcome, over all days that did not fail."""
        counted = list(self._counted())
        return {
            name: sum(day.rows[place] for day in counted) for place, name in enumerate(ROW_OUTCOMES)
        }

    @property
    def deleted(self) -> int:
        """Rows deleted from the table."""
        return sum(day.deleted for day in self.days)

    @property
    def is_balanced(self) -> bool:
        """Whether every row read has an outcome."""
        return self.read == sum(self.rows.values())

    @property
    def is_unchanged(self) -> bool:
        """Whether rows were found and none of them had to be written."""
        rows = self.rows
        return rows["unchanged"] > 0 and not (rows["inserted"] or rows["updated"] or self.deleted)

    def in_state(self, state: str) -> list[DayOutcome]:
        """The days that ended in a state."""
        return [day for day in self.days if day.state == state]

    def _counted(self) -> list[DayOutcome]:
        return [day for day in self.days if day.state != "failed"]


def newest_load_id(conn: psycopg.Connection) -> int:
    """The newest load there is, 0 if none."""
    row = conn.execute("SELECT coalesce(max(load_id), 0) FROM ops.loads").fetchone()
    return int(row[0]) if row else 0


def read_days(conn: psycopg.Connection, after_load_id: int) -> tuple[DayOutcome, ...]:
    """The newest load of each day, of those after a load."""
    rows = conn.execute(
        read_query("read_day_outcomes"), {"target": TARGET, "after_load_id": after_load_id}
    )
    return tuple(
        DayOutcome(day, state, reason, message, read, tuple(counts), deleted)
        for day, state, reason, message, read, *counts, deleted in rows
    )


def read_outcome(conn: psycopg.Connection, after_load_id: int) -> Outcome:
    """Days since a load, dead letters, and the table as it is now."""
    letters = conn.execute(read_query("read_open_dead_letters"), {"target": TARGET})
    stored = conn.execute("SELECT count(*) FROM market.daily_bars").fetchone()
    return Outcome(
        days=read_days(conn, after_load_id),
        dead_letters=tuple(
            DeadLetter(file, row, rule, column, observed, expected, _symbol_in(original))
            for file, row, rule, column, observed, expected, original in letters
        ),
        stored_rows=int(stored[0]) if stored else 0,
    )


def _symbol_in(original: Mapping[str, str | None]) -> str:
    """The symbol of a row as its file spells it, or as the table does if it got that far."""
    return original.get("Ticker") or original.get("symbol") or ""


def find_surprises(
    outcome: Outcome,
    *,
    asked: Sequence[str],
    may_fail: Collection[str],
    backfill_state: BackfillState,
    backfill_error: str | None = None,
) -> list[str]:
    """What is not as it must be, for a person; nothing if all is well.

    Args:
        outcome: What was read after the backfill.
        asked: The days that were launched.
        may_fail: Days with a planted fault that no loader may accept.
        backfill_state: How Dagster calls the end.
        backfill_error: Why the backfill itself failed.
    """
    surprises = []
    if backfill_state not in (BackfillState.COMPLETED_SUCCESS, BackfillState.COMPLETED_FAILED):
        surprises.append(
            f"Dagster ended the backfill as {backfill_state}"
            + (f": {backfill_error}" if backfill_error else "")
        )
    if missing := sorted(set(asked) - {day.day for day in outcome.days}):
        surprises.append(f"days without an outcome: {', '.join(missing)}")
    for day in outcome.days:
        if day.state == "failed" and day.day not in may_fail:
            surprises.append(f"{day.day} failed: {day.message}")
        elif day.state not in ("success", "skipped", "failed"):
            surprises.append(f"{day.day} is {day.state} ({day.reason})")
    if not outcome.is_balanced:
        surprises.append(
            f"{outcome.read} rows were read, {sum(outcome.rows.values())} have an outcome"
        )
    kept = sum(outcome.rows[name] for name in ("inserted", "updated", "unchanged"))
    # A day that failed now may have been loaded before, so the table may hold more.
    if outcome.stored_rows < kept:
        surprises.append(
            f"the ledger counts {kept} stored rows, the table holds {outcome.stored_rows}"
        )
    return surprises
