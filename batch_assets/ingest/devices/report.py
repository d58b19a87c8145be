"""What a load of devices did, shard by shard."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

from batch_assets.errors import BatchAssetsError, ShardMapChanged
from batch_assets.loading.ledger import Ledger

ShardError = BatchAssetsError | psycopg.Error


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """What a load did.

    Attributes:
        ledgers: By shard, summed over the maps that were in force.
        failed_shards: Why shards stopped; their rows wait for the next load, the others went on.
        failed_files: Why files could not be read to their end, by path.
        map_changes: How often rows were split anew because the map changed.
    """

    ledgers: Mapping[int, Ledger]
    failed_shards: Mapping[int, ShardError]
    failed_files: Mapping[str, str]
    map_changes: int

    @property
    def ledger(self) -> Ledger:
        """Rows of all shards by outcome."""
        return sum(self.ledgers.values(), Ledger())

    def __add__(self, other: "DeviceReport") -> "DeviceReport":
        shards = sorted({*self.ledgers, *other.ledgers})
        return DeviceReport(
            {n: self.ledgers.get(n, Ledger()) + other.ledgers.get(n, Ledger()) for n in shards},
            {**self.failed_shards, **other.failed_shards},
            {**self.failed_files, **other.failed_files},
            self.map_changes + other.map_changes,
        )


@dataclass(slots=True)
class Outcomes:
    """Adds up what shards did, map after map."""

    ledgers: dict[int, Ledger] = field(default_factory=dict)
    failed_shards: dict[int, ShardError] = field(default_factory=dict)
    failed_files: dict[str, str] = field(default_factory=dict)
    map_changes: int = 0

    def add(self, ends: Mapping[int, tuple[Ledger, BaseException | None]]) -> bool:
        """Take the ends of all shards of one map.

        Returns:
            Whether to go on by another map. After a failure that is left to the next load.

        Raises:
            BaseException: Of a shard, if it is no error of the data, the database or a lease.
        """
        is_changed = False
        for shard, (ledger, error) in ends.items():
            self.ledgers[shard] = self.ledgers.get(shard, Ledger()) + ledger
            if isinstance(error, ShardMapChanged):
                is_changed = True
            elif isinstance(error, ShardError):
                self.failed_shards[shard] = error
            elif error is not None:
                raise error
        self.map_changes += is_changed
        return is_changed and not self.failed_shards

    def report(self) -> DeviceReport:
        """The sum."""
        return DeviceReport(self.ledgers, self.failed_shards, self.failed_files, self.map_changes)
