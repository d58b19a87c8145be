from datetime import date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.loading.content_hash import hash_rows

_SAMPLES = [
    (pa.bool_(), [True, False, None]),
    (pa.int16(), [1, -1, None, 0]),
    (pa.int64(), [2**40, None, 0]),
    (pa.float32(), [1.5, None, 0.0]),
    (pa.float64(), [1.5, None, 0.0, float("inf")]),
    (pa.string(), ["", None, "a", "中"]),
    (pa.large_string(), ["", None, "a"]),
    (pa.binary(), [b"", None, b"a"]),
    (pa.binary(16), [b"x" * 16, None]),
    (pa.date32(), [date(2024, 9, 30), None]),
    (pa.time64("us"), [time(9, 30), None]),
    (pa.timestamp("us", "UTC"), [datetime(2024, 9, 30), None]),  # noqa: DTZ001 - Arrow adds UTC
    (pa.decimal128(20, 6), [Decimal("1.5"), None, Decimal(0)]),
]


def batch(values: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([values], names=["value"])


@pytest.mark.parametrize(("kind", "values"), _SAMPLES, ids=[str(kind) for kind, _ in _SAMPLES])
def test_slices_and_buffers_make_no_difference(kind: pa.DataType, values: list[object]) -> None:
    plain = batch(pa.array(values, kind))
    # Other rows before and after, and values hidden behind the NULLs' slots.
    padded = batch(pa.array([*values, *values, *values], kind).slice(len(values), len(values)))

    assert hash_rows(padded) == hash_rows(plain)


@pytest.mark.parametrize(("kind", "values"), _SAMPLES, ids=[str(kind) for kind, _ in _SAMPLES])
def test_order_null_and_absence_make_a_difference(kind: pa.DataType, values: list[object]) -> None:
    variants = [values, values[1:], [*values, None], [None, *values[1:]], values[::-1], []]
    distinct = {tuple(map(repr, variant)) for variant in variants}

    assert len({hash_rows(batch(pa.array(v, kind))) for v in variants}) == len(distinct)


def test_a_null_is_not_the_value_that_fills_its_slot() -> None:
    assert hash_rows(batch(pa.array([None], pa.int64()))) != hash_rows(
        batch(pa.array([0], pa.int64()))
    )
    assert hash_rows(batch(pa.array([None], pa.string()))) != hash_rows(
        batch(pa.array([""], pa.string()))
    )


def test_names_and_types_are_part_of_the_content() -> None:
    column = pa.array([1], pa.int64())

    named = {hash_rows(pa.RecordBatch.from_arrays([column], names=[name])) for name in ("a", "b")}

    assert len(named) == 2
    assert hash_rows(batch(column)) != hash_rows(batch(column.cast(pa.int32())))


@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=6))
def test_text_moved_between_rows_is_another_content(values: list[str | None]) -> None:
    joined = ["".join(value or "" for value in values), *[""] * (len(values) - 1)]
    same = values == joined or not values

    assert (
        hash_rows(batch(pa.array(values, pa.string())))
        == hash_rows(batch(pa.array(joined if values else [], pa.string())))
    ) is same
