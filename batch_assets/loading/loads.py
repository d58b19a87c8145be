"""Rows of ops.loads: opened when a window's lease is taken, closed with its publish."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import psycopg
from psycopg.types.json import Jsonb

from batch_assets.contracts.batch import RejectedRow
from batch_assets.contracts.table import Scope, TableContract, Window, resource_of
from batch_assets.errors import BatchAssetsError, LeaseLost
from batch_assets.loading.ledger import Ledger
from batch_assets.loading.report import LoadReport, LoadState, PublishPath, RecognisedBy
from batch_assets.postgres.sql_files import read_query


@dataclass(frozen=True, slots=True)
class LoadContext:
    """What all windows of one call have in common."""

    contract: TableContract
    scope: Scope
    run_id: str | None = None
    is_part: bool = False

    def resource(self, window: Window) -> str:
        """The lease's name for a window."""
        return resource_of(self.contract, self.scope, window)

    def common(self) -> dict[str, str | None]:
        """Parameters shared by the statements of this module."""
        return {
            "target": self.contract.target,
            "scope": self.scope.name,
            "contract_version": self.contract.fingerprint,
            "run_id": self.run_id,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """A window that ends without a publish.

    Attributes:
        window: Which.
        state: How it ends.
        reason: Why, from the domain's closed set.
        ledger: Rows carried over from the load that is recognised; empty otherwise.
        rejected: Rows that belong to no window that could be loaded; they become dead letters.
        message: What is missing from a partial window, in words.
    """

    window: Window
    state: LoadState
    reason: str = ""
    source_file: str = ""
    source_hash: str | None = None
    content_hash: str | None = None
    ledger: Ledger = field(default_factory=Ledger)
    recognised_by: RecognisedBy | None = None
    error: BatchAssetsError | None = None
    rejected: tuple[RejectedRow, ...] = ()
    message: str = ""


def open_loads(
    conn: psycopg.Connection,
    context: LoadContext,
    windows: Sequence[tuple[Window, str, str | None]],
    tokens: Mapping[str, int],
) -> dict[str, int]:
    """Begin loads of leased windows.

    Args:
        windows: Window, source file and source hash of each.
        tokens: Lease token by resource.

    Returns:
        load_id by window key.
    """
    resources = [context.resource(window) for window, _, _ in windows]
    rows = conn.execute(
        read_query("open_loads"),
        {
            **context.common(),
            "window_keys": [window.key for window, _, _ in windows],
            "resources": resources,
            "source_files": [file for _, file, _ in windows],
            "source_hashes": [source_hash for _, _, source_hash in windows],
            "lease_tokens": [tokens[resource] for resource in resources],
        },
    ).fetchall()
    return dict(rows)


def read_last_chunk_rows(conn: psycopg.Connection, context: LoadContext) -> int | None:
    """The chunk size that the last load in chunks of a table and scope ended with."""
    row = conn.execute(read_query("read_last_chunk_rows"), context.common()).fetchone()
    return int(row[0]) if row else None


@dataclass(frozen=True, slots=True)
class Closing:
    """How a load that was opened ends; `message` is for its report, and not stored."""

    load_id: int
    state: LoadState
    ledger: Ledger
    reason: str = ""
    message: str = ""
    recognised_by: RecognisedBy | None = None
    publish_path: PublishPath = PublishPath.NONE
    rows_before: int | None = None
    rows_after: int | None = None
    content_hash: str | None = None
    error: BatchAssetsError | None = None
    metrics: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishedWindow:
    """A window whose load is about to be closed as published."""

    window: Window
    source_hash: str | None
    closing: Closing


def close_published(
    conn: psycopg.Connection, context: LoadContext, published: Sequence[PublishedWindow]
) -> None:
    """Write the outcomes of a publish: into the loads, and into what is known of the windows.

    Dead letters of earlier loads that these no longer met are superseded, unless they read only
    a part of the window.

    Raises:
        LeaseLost: A load is no longer `running`: a later writer has taken its window over.
    """
    load_ids = [item.closing.load_id for item in published]
    rows = conn.execute(
        read_query("close_published"),
        {
            **context.common(),
            "closings": Jsonb([_closing_row(item) for item in published]),
            "load_ids": load_ids,
            "window_keys": [item.window.key for item in published],
            "is_part": context.is_part,
        },
    ).fetchall()
    lost = sorted(set(load_ids) - {load_id for (load_id,) in rows})
    if lost:
        raise LeaseLost(
            f"load {', '.join(map(str, lost))} is no longer running: another process took its "
            "window over; nothing was published; the new holder's load is the one that counts"
        )


def _closing_row(item: PublishedWindow) -> dict[str, object]:
    starts_at, ends_at = item.window.starts_at, item.window.ends_at
    return {
        **_outcome(item.closing),
        "window_key": item.window.key,
        "starts_at": starts_at.isoformat() if starts_at else None,
        "ends_at": ends_at.isoformat() if ends_at else None,
        "source_hash": item.source_hash,
        "metrics": dict(item.closing.metrics),
    }


def close_running_load(conn: psycopg.Connection, closing: Closing) -> bool:
    """Write the outcome of a load, unless a later writer has closed it already.

    Returns:
        Whether the load was still ours to close.
    """
    error = closing.error
    cursor = conn.execute(
        read_query("close_load"),
        {
            **_outcome(closing),
            "metrics": Jsonb(dict(closing.metrics)),
            "error_class": type(error).__name__ if error else None,
            "error_message": str(error) if error else None,
            "is_retryable": error.retryable if error else None,
        },
    )
    return cursor.rowcount == 1


def _outcome(closing: Closing) -> dict[str, object]:
    return {
        "load_id": closing.load_id,
        "state": closing.state,
        "reason": closing.reason or None,
        "recognised_by": closing.recognised_by,
        "publish_path": closing.publish_path,
        **asdict(closing.ledger),
        "rows_before": closing.rows_before,
        "rows_after": closing.rows_after,
        "content_hash": closing.content_hash,
    }


def record_outcomes(
    conn: psycopg.Connection, context: LoadContext, outcomes: Sequence[Outcome]
) -> list[LoadReport]:
    """Write loads that end as they begin, all in one statement.

    Returns:
        One report each, in the order given.
    """
    if not outcomes:
        return []
    rows = conn.execute(
        read_query("record_outcomes"),
        {
            **context.common(),
            "window_keys": [o.window.key for o in outcomes],
            "resources": [context.resource(o.window) for o in outcomes],
            "states": [o.state for o in outcomes],
            "reasons": [o.reason or None for o in outcomes],
            "recognised_bys": [o.recognised_by for o in outcomes],
            "reads": [o.ledger.read for o in outcomes],
            "unchangeds": [o.ledger.unchanged for o in outcomes],
            "duplicates": [o.ledger.duplicate for o in outcomes],
            "rejecteds": [o.ledger.rejected for o in outcomes],
            "skippeds": [o.ledger.skipped for o in outcomes],
            "source_files": [o.source_file or None for o in outcomes],
            "source_hashes": [o.source_hash for o in outcomes],
            "content_hashes": [o.content_hash for o in outcomes],
            "error_classes": [type(o.error).__name__ if o.error else None for o in outcomes],
            "error_messages": [str(o.error) if o.error else None for o in outcomes],
            "are_retryable": [o.error.retryable if o.error else None for o in outcomes],
        },
    ).fetchall()
    load_ids: dict[str, int] = dict(rows)
    return [
        LoadReport(
            load_id=load_ids[o.window.key],
            window=o.window,
            state=o.state,
            ledger=o.ledger,
            reason=o.reason,
            message=o.message,
            recognised_by=o.recognised_by,
            source_file=o.source_file,
            source_hash=o.source_hash,
            error=o.error,
        )
        for o in outcomes
    ]
