"""What a load says when it ends: one report per window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.personal import masked_row
from batch_assets.contracts.table import TableContract, Window
from batch_assets.errors import BatchAssetsError
from batch_assets.loading.ledger import Ledger

# Rejected rows quoted in a report; every one of them is in ops.dead_letters.
QUOTED_REJECTS = 10


class LoadState(StrEnum):
    """How the load of a window ended; `running` only while it has not."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    PARTIAL = "partial"
    NOT_READY = "not_ready"
    UNCONFIRMED_EMPTY = "unconfirmed_empty"


class RecognisedBy(StrEnum):
    """How rows already there were recognised, from the cheapest way to the dearest."""

    SOURCE_HASH = "source_hash"
    CONTENT_HASH = "content_hash"
    DIFFERENCE = "difference"


class PublishPath(StrEnum):
    """How rows reached the target."""

    NONE = "none"
    DIRECT = "direct"
    MERGE = "merge"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The outcome of one window.

    Attributes:
        load_id: Row of ops.loads.
        window: What was loaded.
        state: The outcome; `reason` says why, where it is not plain success.
        message: What is missing from a partial window, in words.
        ledger: Rows by outcome.
        recognised_by: How unchanged rows were recognised; None if all were new.
        publish_path: How rows reached the target.
        source_file: Where the rows came from, relative to the feed's folder.
        source_hash: Hash of the source's bytes and its mapping.
        reject_reasons: Rejected rows by first rule.
        warnings: Rows that broke a warning rule, by rule.
        quoted_rejects: The first rejected rows, as `quote` gives them.
        error: The failure, for state `failed`.
        seconds: Seconds by stage (read, prepare, publish).
    """

    load_id: int
    window: Window
    state: LoadState
    ledger: Ledger
    reason: str = ""
    message: str = ""
    recognised_by: RecognisedBy | None = None
    publish_path: PublishPath = PublishPath.NONE
    source_file: str = ""
    source_hash: str | None = None
    reject_reasons: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    quoted_rejects: tuple[RejectedRow, ...] = ()
    error: BatchAssetsError | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def wall_seconds(self) -> float:
        """Seconds of work on this window, all stages together."""
        return sum(self.seconds.values(), 0.0)


def quote(rejected: Sequence[RejectedRow], contract: TableContract) -> tuple[RejectedRow, ...]:
    """The first rejected rows, at most QUOTED_REJECTS; personal values are masked."""
    names = contract.columns.names
    return tuple(masked_row(row, contract.personal, names) for row in rejected[:QUOTED_REJECTS])
