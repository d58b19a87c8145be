"""Backfills with outcomes, written as runs would write them."""

from dataclasses import replace
from datetime import datetime, timedelta

import psycopg

from batch_assets.ops.backfills.values import BackfillRequest

TEN_DAYS = tuple(f"2024-09-{day:02d}" for day in range(2, 12))
REQUEST = BackfillRequest(
    asset_key="market/cn/daily_bars",
    feed="cn",
    target="market.daily_bars",
    scope="cn",
    keys=TEN_DAYS,
)


def request(*keys: str, **changes: object) -> BackfillRequest:
    return replace(REQUEST, keys=keys or TEN_DAYS, **changes)  # type: ignore[arg-type]


def plant_run(conn: psycopg.Connection, backfill_id: int, run_id: str) -> str:
    conn.execute(
        "INSERT INTO ops.backfill_runs (run_id, backfill_id) VALUES (%s, %s)", (run_id, backfill_id)
    )
    return run_id


def plant_load(
    conn: psycopg.Connection,
    run_id: str,
    key: str,
    state: str = "success",
    *,
    rows: int = 100,
    rejected: int = 0,
    reason: str | None = None,
    error: tuple[str, str] | None = None,
    started_at: datetime | None = None,
    seconds: float = 2.0,
) -> None:
    """A load of one day; `running` has no end."""
    is_over = state != "running"
    started = started_at or datetime.fromisoformat("2024-10-01T00:00:00+00:00")
    conn.execute(
        "INSERT INTO ops.loads (target, scope, window_key, resource, state, reason, rows_read,"
        " rows_inserted, rows_rejected, run_id, error_class, error_message, started_at,"
        " finished_at) VALUES ('market.daily_bars', 'cn', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
        " %s, %s)",
        (
            key,
            f"market.daily_bars/cn/{key}",
            state,
            reason,
            rows if is_over else 0,
            rows - rejected if is_over else 0,
            rejected if is_over else 0,
            run_id,
            *(error or (None, None)),
            started,
            started + timedelta(seconds=seconds) if is_over else None,
        ),
    )
