"""Which shard a device belongs to: device -> one of 256 virtual buckets -> shard.

The bucket of a device never changes; the map from buckets to shards does, and moves no more
buckets than it has to. Storing the map belongs in `ingest/devices/shards.py`.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.errors import ConfigurationError

BUCKETS = 256

ShardMap = tuple[int, ...]
"""The shard (from 0) of each of the 256 buckets."""


def bucket_of(device_sn: str) -> int:
    """The virtual bucket of a device: the first byte of SHA-256 of its name in UTF-8.

    PostgreSQL says the same with `get_byte(sha256(convert_to(device_sn, 'UTF8')), 0)`.
    """
    return hashlib.sha256(device_sn.encode("utf-8", "surrogatepass")).digest()[0]


def buckets_of(device_sns: pa.Array) -> pa.Array:
    """The bucket of each device; int16, null as the empty name. Each name is hashed once."""
    encoded = pc.fill_null(device_sns, "").dictionary_encode()
    buckets = pa.array(map(bucket_of, encoded.dictionary.to_pylist()), pa.int16())
    return buckets.take(encoded.indices)


def even_map(shards: int) -> ShardMap:
    """The map to begin with: buckets in turn.

    Raises:
        ConfigurationError: Not between 1 and 256 shards.
    """
    _check_count(shards)
    return tuple(bucket % shards for bucket in range(BUCKETS))


def resize_map(current: Sequence[int], shards: int) -> ShardMap:
    """The map for another number of shards, moving only what has to move.

    A shard that is added takes its share from the fullest ones; the buckets of a shard that goes
    are spread over the emptiest. From 4 to 5 shards, 51 of 256 buckets move.

    Raises:
        ConfigurationError: Not between 1 and 256 shards.
    """
    _check_count(shards)
    room = _quotas(current, shards)
    homeless: list[int] = []
    for bucket, shard in enumerate(current):
        if room.get(shard, 0):
            room[shard] -= 1
        else:
            homeless.append(bucket)
    resized = list(current)
    free = [shard for shard in sorted(room) for _ in range(room[shard])]
    for bucket, shard in zip(homeless, free, strict=True):
        resized[bucket] = shard
    return tuple(resized)


def _quotas(current: Sequence[int], shards: int) -> dict[int, int]:
    """Buckets of each shard in the end: all the same, or one more for those that have most."""
    sizes = Counter(current)
    fullest = sorted(range(shards), key=lambda shard: (-sizes[shard], shard))
    each, rest = divmod(BUCKETS, shards)
    return {shard: each + (place < rest) for place, shard in enumerate(fullest)}


def _check_count(shards: int) -> None:
    if not 1 <= shards <= BUCKETS:
        raise ConfigurationError(
            f"{shards} shards were asked for, expected 1 to {BUCKETS}; correct shards of [devices]"
        )
