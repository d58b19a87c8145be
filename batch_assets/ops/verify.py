"""Is anything stuck or wrong? Looks at runs, leases, staging, backfills and published rows."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from batch_assets.monitoring.leftover_staging import find_orphan_tables
from batch_assets.ops.backfills.read import list_backfills
from batch_assets.ops.service import asking, repair_runs
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.backfill_states import BackfillState

# A daemon hands a backfill to Dagster within seconds; this one has no daemon, or one in trouble.
_WAITING = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: run, backfill, day, ledger, table, lease, document, device or staging.
        message: What was seen, and what to do.
        is_repaired: It was put right.
    """

    kind: str
    message: str
    is_repaired: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"version": 1, "event": "finding", **asdict(self)}


def verify_all(*, repair: bool = False) -> Iterator[Finding]:
    """Everything that is stuck or wrong, as it is found; `repair` ends dead runs first."""
    for item in repair_runs(dry_run=not repair):
        yield Finding("run", f"{item.run_id or 'a process without a run'}: {item.message}", repair)
    with asking() as conn:
        yield from find_waiting(conn, datetime.now(UTC))
        yield from find_changed_days(conn)
        yield from find_broken_promises(conn)
        yield from find_orphan_staging(conn)


def find_waiting(conn: psycopg.Connection, now: datetime) -> list[Finding]:
    """Backfills that nobody began."""
    return [
        Finding(
            "backfill",
            f"backfill {item.backfill_id} waits since {item.requested_at:%Y-%m-%d %H:%M%z}, "
            "expected the daemon's sensor drive_backfills to begin it within seconds; start "
            "`batch-assets up`, or switch the sensor on",
        )
        for item in list_backfills(conn, is_unfinished=True, limit=1000)
        if item.state is BackfillState.REQUESTED and now - item.requested_at > _WAITING
    ]


def find_changed_days(conn: psycopg.Connection) -> Iterator[Finding]:
    """Days of daily bars with other rows than were published; the server counts, in its index."""
    for scope, window_key, published, found in _stream(conn, "find_changed_market_days"):
        yield Finding(
            "day",
            f"{window_key} of {scope} has {found} rows, expected the {published} that were "
            f"published; somebody changed the table: load the day again with --force",
        )


def find_broken_promises(conn: psycopg.Connection) -> Iterator[Finding]:
    """What loads of any domain left and is no longer so, and leases nobody answers for."""
    for kind, message in _stream(conn, "find_broken_promises"):
        yield Finding(str(kind), str(message))


def _stream(conn: psycopg.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Rows as the server gives them: what is broken may be broken a million times."""
    with conn.cursor(name=query) as cursor:
        yield from cursor.execute(read_query(query), {})


def find_orphan_staging(conn: psycopg.Connection) -> list[Finding]:
    """Staging tables that no window uses."""
    return [
        Finding(
            "staging",
            f"staging.{name} belongs to no window, expected none such; `batch-assets prune` "
            "removes it",
        )
        for name in find_orphan_tables(conn)
    ]
