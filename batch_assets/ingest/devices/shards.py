"""The stored map from buckets to shards, and how it changes under writers.

A writer shares the lock of the map's version until it commits; a change waits for all of them,
and whoever has split its rows by the map before is refused from then on.
"""

from dataclasses import dataclass

import psycopg

from batch_assets.errors import ShardMapChanged
from batch_assets.sources.devices.shards import BUCKETS, ShardMap, even_map, resize_map


@dataclass(frozen=True, slots=True)
class StoredMap:
    """The map in force.

    Attributes:
        version: Raised with every change.
        shards: Shard by bucket.
    """

    version: int
    shards: ShardMap

    def buckets_of(self, shard: int) -> list[int]:
        """Buckets that a shard writes."""
        return [bucket for bucket in range(BUCKETS) if self.shards[bucket] == shard]


def read_shard_map(conn: psycopg.Connection, default_shards: int) -> StoredMap:
    """The map in force; an even one is stored where there is none yet.

    Args:
        conn: The caller commits.
        default_shards: How many shards to begin with.
    """
    stored = _read(conn)
    if stored is not None:
        return stored
    # Whoever comes at the same time waits here, and then finds the map.
    conn.execute("LOCK TABLE devices.shard_map_version IN EXCLUSIVE MODE")
    stored = _read(conn)
    if stored is not None:
        return stored
    shards = even_map(default_shards)
    _write(conn, shards)
    conn.execute("INSERT INTO devices.shard_map_version (version) VALUES (1)")
    return StoredMap(1, shards)


def change_shard_count(conn: psycopg.Connection, shards: int) -> StoredMap:
    """Go over to another number of shards; waits for what writers have in hand.

    Args:
        conn: The caller commits; loads that run split their rows anew after that.

    Raises:
        ConfigurationError: Not between 1 and 256 shards.
    """
    current = read_shard_map(conn, shards)
    resized = resize_map(current.shards, shards)
    if resized == current.shards:
        return current
    row = conn.execute(
        "UPDATE devices.shard_map_version "
        "SET version = version + 1, changed_at = clock_timestamp() RETURNING version"
    ).fetchone()
    assert row is not None  # noqa: S101 - read_shard_map has made it
    _write(conn, resized)
    return StoredMap(row[0], resized)


def require_map_version(conn: psycopg.Connection, version: int) -> None:
    """Hold the map as it is until the caller's transaction ends.

    Raises:
        ShardMapChanged: Another map is in force.
    """
    found = conn.execute(
        "SELECT version FROM devices.shard_map_version WHERE version = %s FOR KEY SHARE",
        (version,),
    ).fetchone()
    if found is None:
        raise ShardMapChanged(
            f"version {version} of the shard map is no longer in force; what was split by it is "
            "not published; read the map, and split the rows that are left by it"
        )


def _read(conn: psycopg.Connection) -> StoredMap | None:
    # One statement: version and buckets of the same moment.
    row = conn.execute(
        "SELECT v.version, array_agg(m.shard ORDER BY m.bucket) "
        "FROM devices.shard_map_version AS v CROSS JOIN devices.shard_map AS m GROUP BY v.version"
    ).fetchone()
    return StoredMap(row[0], tuple(row[1])) if row else None


def _write(conn: psycopg.Connection, shards: ShardMap) -> None:
    conn.execute(
        "INSERT INTO devices.shard_map AS m (bucket, shard) "
        "SELECT bucket - 1, shard FROM unnest(%s::smallint[]) WITH ORDINALITY AS t (shard, bucket) "
        "ON CONFLICT (bucket) DO UPDATE SET shard = excluded.shard "
        "WHERE m.shard <> excluded.shard",
        (list(shards),),
    )
