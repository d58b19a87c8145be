"""The workers of the continuous mode, on any number of hosts, and which shards each may take.

Each says once in a while that it lives, by a lease of its own that runs out when it does not. None
of them gives orders: everybody counts who is there, takes free shards up to its share, and gives
back what is above it. Who really writes a shard is decided by the lease of the shard.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import psycopg

from batch_assets.loading.leases import Holder
from batch_assets.postgres.sql_files import read_query
from batch_assets.sources.devices.contract import RECORDS


def shard_resource(shard: int) -> str:
    """The lease of a shard, as files and inbox take it."""
    return f"{RECORDS.target}/shard-{shard}"


@dataclass(frozen=True, slots=True)
class Crew:
    """Who is there, at one moment.

    Attributes:
        workers: Workers that live, this one included.
        held: Shards whose lease somebody holds, this worker included.
    """

    workers: int
    held: frozenset[int]


@dataclass(frozen=True, slots=True)
class Member:
    """One worker.

    Attributes:
        lease_seconds: How long it counts without a word.
        name: Unique among all workers.
    """

    lease_seconds: float
    name: str = field(default_factory=lambda: Holder().name)

    @property
    def resource(self) -> str:
        """The lease that says it lives."""
        return f"devices.workers/{self.name}"

    def announce(self, conn: psycopg.Connection, shards: Collection[int]) -> Crew:
        """Say that this worker lives, and look who else does; commits by itself on autocommit."""
        resources = {shard_resource(shard): shard for shard in shards}
        row = conn.execute(
            read_query("announce_device_worker"),
            {
                "resource": self.resource,
                "holder": self.name,
                "lease_seconds": self.lease_seconds,
                "shards": list(resources),
            },
        ).fetchone()
        assert row is not None  # noqa: S101 - an aggregate always answers
        return Crew(row[0], frozenset(resources[name] for name in row[1]))

    def leave(self, conn: psycopg.Connection) -> None:
        """Go, so that the others need not wait until the lease runs out."""
        conn.execute("DELETE FROM ops.leases WHERE resource = %s", (self.resource,))


@dataclass(frozen=True, slots=True)
class Moves:
    """What a worker has to do to have its share."""

    take: tuple[int, ...] = ()
    give_back: tuple[int, ...] = ()


def plan_moves(shards: Sequence[int], mine: Collection[int], crew: Crew) -> Moves:
    """Which shards to take and which to give back.

    Args:
        shards: All shards of the map.
        mine: Those this worker writes.
    """
    share = -(-len(shards) // max(1, crew.workers))
    free = [shard for shard in shards if shard not in crew.held and shard not in mine]
    surplus = sorted(mine)[share:]
    return Moves(tuple(free[: max(0, share - len(mine))]), tuple(surplus))
