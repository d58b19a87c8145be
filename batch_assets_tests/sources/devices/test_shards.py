"""Devices keep their bucket, and a new shard takes no more than its share."""

from collections import Counter

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.errors import ConfigurationError
from batch_assets.sources.devices.shards import (
    BUCKETS,
    bucket_of,
    buckets_of,
    even_map,
    resize_map,
)


@pytest.mark.parametrize(("device_sn", "bucket"), [("", 0xE3), ("abc", 0xBA), ("手表", 0xB7)])
def test_bucket_is_the_first_byte_of_sha256(device_sn: str, bucket: int) -> None:
    assert bucket_of(device_sn) == bucket


def test_buckets_of_a_column_are_those_of_its_values() -> None:
    names = ["abc", "", None, "abc", "手表"]

    assert buckets_of(pa.array(names)).to_pylist() == [bucket_of(name or "") for name in names]


def test_postgres_finds_the_same_bucket(postgres_empty: str) -> None:
    names = [f"SN-{number:04d}" for number in range(200)] + ["手表"]
    with psycopg.connect(postgres_empty) as conn:
        found = conn.execute(
            "SELECT get_byte(sha256(convert_to(n, 'UTF8')), 0) "
            "FROM unnest(%s::text[]) WITH ORDINALITY AS t (n, i) ORDER BY i",
            (names,),
        ).fetchall()

    assert [bucket for (bucket,) in found] == [bucket_of(name) for name in names]


def test_fifth_shard_moves_a_fifth_of_the_devices() -> None:
    before, after = even_map(4), resize_map(even_map(4), 5)
    devices = [f"SN-{number:06d}" for number in range(20_000)]

    moved = [name for name in devices if before[bucket_of(name)] != after[bucket_of(name)]]

    assert sum(a != b for a, b in zip(before, after, strict=True)) == 51
    assert 0.17 < len(moved) / len(devices) < 0.23
    assert {after[bucket_of(name)] for name in moved} == {4}


@given(st.lists(st.integers(1, 20), min_size=2, max_size=8))
def test_any_course_of_sizes_stays_even_and_moves_the_least(course: list[int]) -> None:
    current = even_map(course[0])
    for shards in course[1:]:
        resized = resize_map(current, shards)
        sizes = Counter(resized)
        moved = [(old, new) for old, new in zip(current, resized, strict=True) if old != new]

        assert set(sizes) == set(range(shards))
        assert max(sizes.values()) - min(sizes.values()) <= 1
        before = len(set(current))
        if shards >= before:
            # A shard that was there before is given nothing.
            assert all(new >= before for _, new in moved)
            assert len(moved) <= BUCKETS * (shards - before) // shards + (shards - before)
        else:
            assert len(moved) <= sum(shard >= shards for shard in current) + shards
        current = resized


@pytest.mark.parametrize("shards", [0, 257])
def test_impossible_number_of_shards_is_refused(shards: int) -> None:
    with pytest.raises(ConfigurationError, match="expected 1 to 256"):
        even_map(shards)
