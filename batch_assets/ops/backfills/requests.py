"""Launch a backfill, or find the one that loads the same already.

Functions take a connection and leave the commit to their caller. A launch is a row: the sensor
`drive_backfills` (runs/backfill_driver.py) hands it to Dagster.
"""

import hashlib
import json

import psycopg

from batch_assets.errors import BackfillOverlaps, RequestRefused
from batch_assets.ops.access import record_audit
from batch_assets.ops.backfills.read import read_backfill
from batch_assets.ops.backfills.values import Backfill, BackfillRequest, Launched
from batch_assets.postgres.sql_files import read_query

# Any fixed number does; with the asset it keeps two requests for one asset apart in time.
_LAUNCH_LOCK = 0x6261


def launch(conn: psycopg.Connection, request: BackfillRequest, actor: str) -> Launched:
    """Ask for a backfill; a request that is running already answers with the running one.

    Raises:
        BackfillOverlaps: Another backfill, not yet ended, loads some of the partitions.
        RequestRefused: There is no partition to load.
    """
    if not request.keys:
        raise RequestRefused(
            f"no partition to load for {request.asset_key}, expected at least one; check the "
            "first and the last day of the range"
        )
    # Whether something overlaps is looked up and then acted on: one launch of an asset at a time.
    conn.execute(
        "SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_LAUNCH_LOCK, request.asset_key)
    )
    fingerprint = fingerprint_of(request)
    _refuse_overlap(conn, request, fingerprint)
    row = conn.execute(
        read_query("request_backfill"), _parameters(request, fingerprint, actor)
    ).fetchone()
    if row is None:
        running = find_running(conn, request)
        if running is None:
            # It ended between the two statements, which the lock does not prevent.
            return launch(conn, request, actor)
        return Launched(running, is_new=False)
    backfill_id = int(row[0])
    record_audit(
        conn,
        actor,
        "backfill.retry" if request.retry_of else "backfill.launch",
        str(backfill_id),
        asset=request.asset_key,
        first=request.keys[0],
        last=request.keys[-1],
        partitions=len(request.keys),
        **({"retry_of": request.retry_of} if request.retry_of else {}),
    )
    return Launched(read_backfill(conn, backfill_id), is_new=True)


def find_running(conn: psycopg.Connection, request: BackfillRequest) -> Backfill | None:
    """The unfinished backfill that loads exactly the same, None if there is none."""
    row = conn.execute(
        "SELECT backfill_id FROM ops.backfills WHERE fingerprint = %s AND ended_at IS NULL",
        (fingerprint_of(request),),
    ).fetchone()
    return None if row is None else read_backfill(conn, int(row[0]))


def fingerprint_of(request: BackfillRequest) -> str:
    """What makes two requests the same: asset, partitions, symbols and force."""
    parts = [request.asset_key, request.keys, sorted(request.symbols), request.is_forced]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _refuse_overlap(conn: psycopg.Connection, request: BackfillRequest, fingerprint: str) -> None:
    row = conn.execute(
        read_query("find_overlapping_backfill"),
        {
            "asset_key": request.asset_key,
            "keys": list(request.keys),
            "fingerprint": fingerprint,
        },
    ).fetchone()
    if row is None:
        return
    raise BackfillOverlaps(
        f"{request.keys[0]} to {request.keys[-1]} of {request.asset_key} overlaps backfill "
        f"{row[0]} ({row[1]} to {row[2]}), which has not ended; expected partitions that nobody "
        f"else loads; wait for it, or end it with `batch-assets cancel {row[0]}`",
        backfill_id=int(row[0]),
    )


def _parameters(request: BackfillRequest, fingerprint: str, actor: str) -> dict[str, object]:
    return {
        "asset_key": request.asset_key,
        "feed": request.feed,
        "target": request.target,
        "scope": request.scope,
        "first_key": request.keys[0],
        "last_key": request.keys[-1],
        "partitions": len(request.keys),
        "fingerprint": fingerprint,
        "is_forced": request.is_forced,
        "symbols": list(request.symbols) or None,
        "priority": request.priority,
        "retry_of": request.retry_of,
        "actor": actor,
        "keys": list(request.keys),
        "whys": [request.whys.get(key) for key in request.keys],
    }
