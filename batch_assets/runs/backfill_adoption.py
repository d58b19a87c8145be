"""Adopt backfills launched in Dagster itself: on its pages, over GraphQL, by its commands.

An adopted one has a number in ops.backfills, and its progress is counted from the ledger, as that
of any other. Dagster alone makes and repeats its runs: the driver (backfill_driver.py) launches
nothing of it unless a person holds it and lets it go on.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg
import psycopg

from batch_assets.postgres.connect import translating_errors
from batch_assets.postgres.sql_files import read_query
from batch_assets.runs import dagster_backfills as door
from batch_assets.runs.backfill_states import priority_of

logger = logging.getLogger(__name__)

# Who asked for it: Dagster's open-source version knows no users.
ACTOR = "dagster"

# Ended ones are adopted where they were launched since the last look, and no longer ago than this:
# an upgrade does not fill the history with all that Dagster remembers.
ENDED_WITHIN = timedelta(days=1)

# Webserver, daemon and this process have clocks of their own, and a launch takes its time.
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class TrackedAsset:
    """An asset each partition of which is one window of the ledger.

    Attributes:
        asset_key: With slashes.
        feed: What `pause --feed` and `history --feed` call it.
        target: Table its loads are recorded for.
        scope: Scope its loads are recorded for.
        written_with_it: Assets that the same step always writes, by key.
    """

    asset_key: str
    feed: str
    target: str
    scope: str
    written_with_it: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Adopted:
    """A backfill that is followed from now on."""

    backfill_id: int
    asset_key: str
    dagster_backfill_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """The definitions of this code location, and its name; None where nobody says it."""

    repository: dg.RepositoryDefinition
    name: str | None = None


def adopt_backfills(
    instance: dg.DagsterInstance,
    location: CodeLocation,
    tracked: Mapping[str, TrackedAsset],
    connect: Callable[[], psycopg.Connection],
    *,
    now: datetime,
) -> list[Adopted]:
    """Look once for backfills of Dagster that are not ours, and adopt those of our assets.

    Each is committed by itself. A look that is cut off is made again from where it began.

    Args:
        instance: Of Dagster.
        location: Whose assets and jobs they load.
        tracked: Assets that can be followed, by key.
        connect: Opens a connection, which is closed here.
        now: The present.

    Returns:
        What was adopted; one backfill of several assets is one for each.
    """
    with closing(connect()) as conn, translating_errors():
        adopted: list[Adopted] = []
        for page in door.find_backfills(instance, _look_after(conn, now)):
            known = _known(conn, [found.dagster_backfill_id for found in page])
            for found in page:
                if found.dagster_backfill_id not in known:
                    adopted += _adopt_if_sound(conn, instance, location, tracked, found)
        conn.execute("UPDATE ops.backfill_adoption SET looked_at = %s", (now,))
        conn.commit()
        return adopted


def _look_after(conn: psycopg.Connection, now: datetime) -> datetime:
    """What was launched before it, and has ended, was seen by the last look, or is too old."""
    row = conn.execute(
        "SELECT greatest(looked_at, %s) FROM ops.backfill_adoption", (now - ENDED_WITHIN,)
    ).fetchone()
    conn.commit()
    looked_at: datetime = row[0] if row else now
    return looked_at - _CLOCKS_DIFFER


def _known(conn: psycopg.Connection, ids: Sequence[str]) -> set[str]:
    """Dagster backfills that the driver launched, or that were adopted before."""
    rows = conn.execute(
        "SELECT dagster_backfill_id FROM ops.backfill_segments WHERE dagster_backfill_id = ANY(%s)",
        (list(ids),),
    ).fetchall()
    conn.commit()
    return {str(row[0]) for row in rows}


def _adopt_if_sound(
    conn: psycopg.Connection,
    instance: dg.DagsterInstance,
    location: CodeLocation,
    tracked: Mapping[str, TrackedAsset],
    found: door.FoundBackfill,
) -> list[Adopted]:
    try:
        return _adopt(conn, instance, location, tracked, found)
    except (dg.DagsterError, psycopg.DataError, UnicodeError) as error:
        # Its partitions are no longer what they were at its launch, and Dagster fails it, too; or
        # somebody typed what no text of the database can hold.
        conn.rollback()
        logger.warning("Dagster backfill %s is not followed: %s", found.dagster_backfill_id, error)
        return []


def _adopt(
    conn: psycopg.Connection,
    instance: dg.DagsterInstance,
    location: CodeLocation,
    tracked: Mapping[str, TrackedAsset],
    found: door.FoundBackfill,
) -> list[Adopted]:
    """A row for each of its assets that can be followed, all of them or none."""
    assets = set(found.asset_keys(location.repository, location.name))
    graph = location.repository.asset_graph
    adopted: list[Adopted] = []
    for asset in sorted(tracked.values(), key=lambda one: one.asset_key):
        of_it = assets & {asset.asset_key, *asset.written_with_it}
        keys = found.partition_keys(min(of_it), graph) if of_it else []
        if keys:
            config = found.config_of(asset.asset_key, graph)
            adopted += _insert(conn, asset, found, keys, config, is_shared=assets > of_it)
    if adopted:
        run_ids = door.list_run_ids(instance, found.dagster_backfill_id)
        record_runs(conn, found.dagster_backfill_id, run_ids)
    conn.commit()
    for one in adopted:
        logger.info(
            "backfill %s is Dagster's %s: %s partitions of %s",
            one.backfill_id,
            one.dagster_backfill_id,
            one.partitions,
            one.asset_key,
        )
    return adopted


def _insert(
    conn: psycopg.Connection,
    asset: TrackedAsset,
    found: door.FoundBackfill,
    keys: list[str],
    config: Mapping[str, object],
    *,
    is_shared: bool,
) -> list[Adopted]:
    row = conn.execute(
        read_query("adopt_backfill"),
        {
            "asset_key": asset.asset_key,
            "feed": asset.feed,
            "target": asset.target,
            "scope": asset.scope,
            "first_key": keys[0],
            "last_key": keys[-1],
            "partitions": len(keys),
            "keys": keys,
            "fingerprint": _fingerprint(found.dagster_backfill_id, asset.asset_key),
            "is_forced": config.get("force") is True,
            "symbols": _names(config.get("symbols")),
            "priority": priority_of(found.tags),
            "actor": ACTOR,
            "launched_at": found.launched_at,
            "dagster_backfill_id": found.dagster_backfill_id,
            "is_shared": is_shared,
        },
    ).fetchone()
    if row is None:
        return []
    return [Adopted(int(row[0]), asset.asset_key, found.dagster_backfill_id, len(keys))]


def _fingerprint(dagster_backfill_id: str, asset_key: str) -> str:
    """Never that of a request: the same range may be launched twice in Dagster."""
    parts = [ACTOR, dagster_backfill_id, asset_key]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _names(symbols: object) -> list[str] | None:
    named = [str(one) for one in symbols] if isinstance(symbols, list) else []
    return named or None


def record_runs(conn: psycopg.Connection, dagster_backfill_id: str, run_ids: Sequence[str]) -> None:
    """Count runs that Dagster made of it as those of its backfills.

    A run that asks whether it may begin its next partition does so itself, once it is adopted.
    """
    conn.execute(
        read_query("record_backfill_runs"),
        {"dagster_backfill_id": dagster_backfill_id, "run_ids": list(run_ids)},
    )
