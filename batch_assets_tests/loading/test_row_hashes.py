"""Hashes of rows: equal for equal rows only, whatever batch they come in."""

import string
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.loading.hash_changes import HashChanges, KnownHashes, as_bytes
from batch_assets.loading.row_hashes import are_among, hash_each_row

_VALUES = {
    "flag": (pa.bool_(), [True, False, None]),
    "small": (pa.int16(), [0, 1, -1, None]),
    "number": (pa.int64(), [0, 1, -1, 2**62, None]),
    "real": (pa.float32(), [0.0, 1.5, None]),
    "double": (pa.float64(), [0.0, -1.5, 1e300, None]),
    "price": (
        pa.decimal128(38, 6),
        [Decimal(0), Decimal("1.5"), Decimal("-1.5"), Decimal(10) ** 24, None],
    ),
    "day": (pa.date32(), [date(1970, 1, 1), date(2024, 9, 30), None]),
    "at": (pa.time64("us"), [time(0), time(23, 59, 59, 999_999), None]),
    "since": (pa.timestamp("us", "UTC"), [datetime(2024, 9, 30, tzinfo=UTC), None]),
    "code": (pa.string(), ["", "A", "a", "00000001", "000000010", "ä中", "x" * 64, "x" * 65, None]),
    "long": (pa.large_string(), ["", "y" * 300, "y" * 301, "z", None]),
    "raw": (pa.binary(), [b"", b"\0", b"\0\0", b"\0" * 8, b"\0" * 9, None]),
    "id": (pa.binary(16), [bytes(16), bytes(range(16)), None]),
}
_SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _VALUES.items()])
_ROW = st.tuples(*(st.sampled_from(values) for _, values in _VALUES.values()))


def batch_of(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_SCHEMA)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


@given(st.lists(_ROW, max_size=12))
def test_rows_have_the_same_hash_if_they_say_the_same(rows: list[tuple[object, ...]]) -> None:
    hashes = hash_each_row(batch_of(rows), _SCHEMA.names)

    assert hashes is not None
    assert len(hashes) == len(rows)
    for first, one in zip(rows, hashes.tolist(), strict=True):
        for second, other in zip(rows, hashes.tolist(), strict=True):
            assert (one == other) is (first == second)


@given(st.lists(_ROW, min_size=1, max_size=9), st.data())
def test_the_hash_of_a_row_does_not_depend_on_its_batch(
    rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(rows) - 1))
    batch = batch_of(rows)

    [alone] = hash_each_row(batch_of([rows[start]]), _SCHEMA.names).tolist()

    assert hash_each_row(batch, _SCHEMA.names).tolist()[start] == alone
    assert hash_each_row(batch.slice(start), _SCHEMA.names).tolist()[0] == alone


@pytest.mark.parametrize("name", _SCHEMA.names)
def test_every_value_of_a_type_has_a_hash_of_its_own(name: str) -> None:
    kind, values = _VALUES[name]
    batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], names=[name])

    assert len(set(hash_each_row(batch, [name]).tolist())) == len(values)


def test_the_same_value_counts_differently_in_another_column() -> None:
    batch = pa.RecordBatch.from_pydict({"open": [1, 2, 1], "close": [2, 1, 1]})

    assert len(set(hash_each_row(batch, ["open", "close"]).tolist())) == 3


@given(st.lists(st.text(string.printable, max_size=70), max_size=20, unique=True))
def test_texts_of_any_length_are_told_apart(texts: list[str]) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], names=["text"])

    assert len(set(hash_each_row(batch, ["text"]).tolist())) == len(texts)


def test_types_whose_bytes_are_not_known_have_no_hash() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([[1], [2]])], names=["list"])

    assert hash_each_row(batch, ["list"]) is None


_HASHES = st.lists(st.integers(0, 12), max_size=10, unique=True).map(sorted)


def as_array(hashes: list[int]) -> np.ndarray:
    return np.array(hashes, np.uint64)


@given(_HASHES, _HASHES)
def test_hashes_among_others_are_found_in_any_order(first: list[int], second: list[int]) -> None:
    found = are_among(as_array(first), as_array(second[::-1]))

    assert found.tolist() == [one in second for one in first]


@given(st.lists(_HASHES, min_size=2, max_size=6))
def test_hashes_with_their_changes_are_read_as_they_are_now(versions: list[list[int]]) -> None:
    whole, changes = as_bytes(as_array(versions[0])), HashChanges()
    for version in map(as_array, versions[1:]):
        known = KnownHashes.of(whole, changes)
        changed = known.change_to(version, known.find(version))
        if changed is None:
            whole, changes = as_bytes(version), HashChanges()
        else:
            changes = changed
        assert KnownHashes.of(whole, changes).hashes.tolist() == version.tolist()


def test_few_changes_are_written_down_alone_many_are_not() -> None:
    known = KnownHashes.of(as_bytes(as_array(list(range(0, 200, 2)))), HashChanges())
    few = as_array([*range(0, 190, 2), 1_000])
    many = as_array([*range(0, 100, 2), *range(1_001, 1_100, 2)])

    changes = known.change_to(few, known.find(few))

    assert changes is not None
    assert len(changes.added) == 12
    assert len(changes.dropped) == 5 * 4
    assert known.change_to(many, known.find(many)) is None


def test_another_order_of_the_same_rows_is_written_down_anew() -> None:
    known = KnownHashes.of(as_bytes(as_array([1, 2, 3])), HashChanges())
    turned = as_array([3, 2, 1])

    assert known.change_to(turned, known.find(turned)) is None
