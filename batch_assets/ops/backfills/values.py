"""What the questions about backfills are answered with. Values only."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batch_assets.runs.backfill_states import BACKFILL_PRIORITY, BackfillState, Wanted
from batch_assets.runs.eta import Estimate


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What somebody wants loaded.

    Attributes:
        asset_key: Of Dagster, with slashes: `market/cn/daily_bars`.
        feed: What a pause of a feed names; the tag `batch_assets/feed` of its runs.
        target: Table its loads are recorded for.
        scope: Scope its loads are recorded for.
        keys: Partition keys, oldest first.
        whys: Reasons of a plan by key; empty where nobody planned.
        is_forced: Fetch partitions that are there, too.
        symbols: Fetch these alone; empty for all.
        priority: `dagster/priority` of its runs.
        retry_of: The backfill whose failed partitions these are.
    """

    asset_key: str
    feed: str
    target: str
    scope: str
    keys: tuple[str, ...]
    whys: dict[str, str] = field(default_factory=dict)
    is_forced: bool = False
    symbols: tuple[str, ...] = ()
    priority: int = BACKFILL_PRIORITY
    retry_of: int | None = None


@dataclass(frozen=True, slots=True)
class Backfill:
    """One row of ops.backfills.

    Attributes:
        state: How far it is.
        wanted: What people asked for last; pause and cancel take until running partitions end.
        is_feed_paused: Its feed is paused, whatever is wanted of it.
        problem: Why it does not go on by itself; empty if it does.
        dagster_backfill_ids: Dagster's backfills that carry it out, oldest first.
    """

    backfill_id: int
    asset_key: str
    feed: str
    first_key: str
    last_key: str
    partitions: int
    is_forced: bool
    symbols: tuple[str, ...]
    priority: int
    wanted: Wanted
    state: BackfillState
    is_feed_paused: bool
    problem: str
    retry_of: int | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    dagster_backfill_ids: tuple[str, ...]

    @property
    def is_moving(self) -> bool:
        """Whether it goes on by itself: it has not ended, and nobody holds it."""
        return self.phase in (BackfillState.REQUESTED, BackfillState.RUNNING)

    @property
    def phase(self) -> str:
        """The state as a person reads it: also `pausing` and `canceling`, until that is done."""
        if self.state.is_final or self.state is BackfillState.PAUSED:
            return str(self.state)
        if self.wanted is Wanted.CANCEL:
            return "canceling"
        is_held = self.wanted is Wanted.PAUSE or self.is_feed_paused
        return "pausing" if is_held else str(self.state)


@dataclass(frozen=True, slots=True)
class Launched:
    """The answer to a request: the backfill, and whether the request made it."""

    backfill: Backfill
    is_new: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """A backfill at one moment; partitions by outcome, and the rows of those that ended.

    Attributes:
        success: Loaded whole, changed or not.
        partial: Loaded, and known to lack something.
        failed: Not loaded; errors say why.
        skipped: Not a session, or there already.
        not_ready: The source does not have them yet.
        unconfirmed_empty: The source has no rows, and nothing says that this is right.
        running: Being loaded now.
        waiting: Not begun.
        current_key: The partition that was begun last; None before the first.
        rows_read: Of ended partitions; the other counts likewise.
        rows_per_second: Rows read, over the last five minutes in which partitions ended.
        symbols_per_second: Rows stored or found unchanged, likewise: a row is a symbol of a day.
        eta: When it ends; None while unknown, while somebody holds it, and after its end.
        updated_at: When a partition began or ended last.
    """

    backfill: Backfill
    success: int
    partial: int
    failed: int
    skipped: int
    not_ready: int
    unconfirmed_empty: int
    running: int
    waiting: int
    current_key: str | None
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_duplicate: int
    rows_rejected: int
    rows_skipped: int
    rows_per_second: float | None
    symbols_per_second: float | None
    eta: Estimate | None
    updated_at: datetime | None

    @property
    def total(self) -> int:
        """Partitions asked for."""
        return self.backfill.partitions

    @property
    def done(self) -> int:
        """Partitions with an outcome, whichever."""
        return self.total - self.running - self.waiting

    @property
    def done_pct(self) -> float:
        """0 to 100; 100 where there is nothing to do."""
        return 100.0 * self.done / self.total if self.total else 100.0

    @property
    def has_errors(self) -> bool:
        """Whether partitions did not end well, or never began before the end."""
        bad = self.failed + self.partial + self.not_ready + self.unconfirmed_empty
        is_over = self.backfill.ended_at is not None
        return bool(bad or (is_over and self.running + self.waiting))

    @property
    def seconds(self) -> float | None:
        """From start to end; None before the end."""
        backfill = self.backfill
        if backfill.ended_at is None:
            return None
        return (backfill.ended_at - (backfill.started_at or backfill.requested_at)).total_seconds()


@dataclass(frozen=True, slots=True)
class PartitionOutcome:
    """What became of one partition.

    Attributes:
        state: Of its load; waiting where there is none.
        reason: Of the state, as `holiday`; empty where the state says all.
        seconds: Its load took; 0 where there is none, or it has not ended.
    """

    partition_key: str
    state: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PartitionError:
    """A partition that did not end well.

    Attributes:
        position: The i of [i/n].
        state: failed, partial, not_ready, unconfirmed_empty; waiting where the backfill ended
            before it came to it.
        error_class: Of our exception tree; empty where there was none.
        message: What was seen, what was expected, what to do.
        run_id: Of Dagster.
        happened_at: When its load ended.
    """

    position: int
    partition_key: str
    state: str
    error_class: str
    message: str
    load_id: int | None
    run_id: str | None
    rows_rejected: int
    happened_at: datetime | None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A page of errors, newest partition first.

    Attributes:
        total: Errors on all pages.
        next_before: Pass it as `before_position` for the next page; None after the last.
    """

    errors: tuple[PartitionError, ...]
    total: int
    next_before: int | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change that somebody made."""

    happened_at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
