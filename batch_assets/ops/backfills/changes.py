"""Change what is wanted of a backfill or a feed; each change leaves a row in ops.audit.

Functions take a connection and leave the commit to their caller. What is wanted takes effect
when the runs next ask (runs/backfill_gate.py) and when the driver next looks.
"""

import psycopg

from batch_assets.errors import BackfillEnded, RequestRefused
from batch_assets.ops.access import record_audit
from batch_assets.ops.backfills.read import read_backfill
from batch_assets.ops.backfills.requests import launch
from batch_assets.ops.backfills.values import Backfill, BackfillRequest, Launched
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs.backfill_states import Wanted


def pause(conn: psycopg.Connection, backfill_id: int, actor: str) -> Backfill:
    """Begin no more partitions of it; those being loaded end.

    Raises:
        UnknownBackfill: There is none of that number.
        BackfillEnded: It is over, or being canceled.
        RequestRefused: It was launched in Dagster together with other assets.
    """
    return _want(conn, backfill_id, Wanted.PAUSE, actor, "backfill.pause")


def resume(conn: psycopg.Connection, backfill_id: int, actor: str) -> Backfill:
    """Go on with it; raises as `pause`."""
    return _want(conn, backfill_id, Wanted.RUN, actor, "backfill.resume")


def cancel(conn: psycopg.Connection, backfill_id: int, actor: str) -> Backfill:
    """End it: its runs are stopped, what is committed stays; raises as `pause`."""
    return _want(conn, backfill_id, Wanted.CANCEL, actor, "backfill.cancel")


def _want(
    conn: psycopg.Connection, backfill_id: int, wanted: Wanted, actor: str, action: str
) -> Backfill:
    backfill = _lock_unfinished(conn, backfill_id)
    if backfill.wanted is Wanted.CANCEL and wanted is not Wanted.CANCEL:
        raise BackfillEnded(
            f"backfill {backfill_id} is being canceled, expected one that goes on; launch the "
            f"rest with `batch-assets retry --failed {backfill_id}` once it has ended"
        )
    if backfill.wanted is wanted:
        return backfill
    _refuse_shared(conn, backfill)
    conn.execute(
        "UPDATE ops.backfills SET wanted = %s WHERE backfill_id = %s", (wanted, backfill_id)
    )
    record_audit(conn, actor, action, str(backfill_id))
    return read_backfill(conn, backfill_id)


def set_priority(conn: psycopg.Connection, backfill_id: int, priority: int, actor: str) -> Backfill:
    """Reorder it among what waits: a larger number goes first; schedules have 0.

    Raises:
        UnknownBackfill: There is none of that number.
        BackfillEnded: It is over.
        RequestRefused: It was launched in Dagster together with other assets.
    """
    backfill = _lock_unfinished(conn, backfill_id)
    _refuse_shared(conn, backfill)
    before = backfill.priority
    conn.execute(
        "UPDATE ops.backfills SET priority = %s WHERE backfill_id = %s", (priority, backfill_id)
    )
    record_audit(conn, actor, "backfill.priority", str(backfill_id), before=before, after=priority)
    return read_backfill(conn, backfill_id)


def _lock_unfinished(conn: psycopg.Connection, backfill_id: int) -> Backfill:
    conn.execute("SELECT FROM ops.backfills WHERE backfill_id = %s FOR UPDATE", (backfill_id,))
    backfill = read_backfill(conn, backfill_id)
    if backfill.state.is_final:
        raise BackfillEnded(
            f"backfill {backfill_id} has ended ({backfill.state}), expected one that has not; "
            f"`batch-assets retry --failed {backfill_id}` loads what failed as a new one"
        )
    return backfill


def _refuse_shared(conn: psycopg.Connection, backfill: Backfill) -> None:
    """Runs of a Dagster backfill over several assets load these together, and end together."""
    row = conn.execute(
        "SELECT dagster_backfill_id FROM ops.backfill_segments"
        " WHERE backfill_id = %s AND is_shared AND ended_at IS NULL",
        (backfill.backfill_id,),
    ).fetchone()
    if row is None:
        return
    raise RequestRefused(
        f"backfill {backfill.backfill_id} was launched in Dagster as {row[0]} together with other "
        f"assets, expected one that loads {backfill.asset_key} alone; cancel {row[0]} as a whole "
        "on Dagster's page of it, or hold a feed with `batch-assets pause --feed NAME`"
    )


def retry_failed(conn: psycopg.Connection, backfill_id: int, actor: str) -> Launched:
    """Load what did not end well as a new backfill: failed, partial, not ready, never begun.

    Raises:
        UnknownBackfill: There is none of that number.
        RequestRefused: It has not ended, or everything of it ended well.
        BackfillOverlaps: Another backfill loads some of it.
    """
    backfill = read_backfill(conn, backfill_id)
    if not backfill.state.is_final:
        raise RequestRefused(
            f"backfill {backfill_id} is {backfill.phase}, expected one that has ended; wait for "
            f"its end, or end it with `batch-assets cancel {backfill_id}`"
        )
    rows = conn.execute(read_query("read_backfill_retry"), (backfill_id,)).fetchall()
    if not rows:
        raise RequestRefused(
            f"backfill {backfill_id} has no partition that failed, expected at least one; "
            f"`batch-assets errors {backfill_id}` lists them"
        )
    target, scope = rows[0][1:3]
    request = BackfillRequest(
        asset_key=backfill.asset_key,
        feed=backfill.feed,
        target=target,
        scope=scope,
        keys=tuple(row[0] for row in rows),
        is_forced=backfill.is_forced,
        symbols=backfill.symbols,
        priority=backfill.priority,
        retry_of=backfill_id,
    )
    return launch(conn, request, actor)


def pause_feed(conn: psycopg.Connection, feed: str, actor: str) -> bool:
    """Begin no more partitions of a feed, whoever launched them; False if it was paused before."""
    paused = conn.execute(
        "INSERT INTO ops.paused_feeds (feed, paused_by) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (feed, actor),
    )
    if paused.rowcount:
        record_audit(conn, actor, "feed.pause", feed)
    return paused.rowcount > 0


def resume_feed(conn: psycopg.Connection, feed: str, actor: str) -> bool:
    """Go on with a feed; False if it was not paused."""
    resumed = conn.execute("DELETE FROM ops.paused_feeds WHERE feed = %s", (feed,))
    if resumed.rowcount:
        record_audit(conn, actor, "feed.resume", feed)
    return resumed.rowcount > 0
