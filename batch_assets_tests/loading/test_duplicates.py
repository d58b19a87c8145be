import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.table import TableContract
from batch_assets.loading.duplicates import sort_by_key

CONTRACT = TableContract(
    target="public.things",
    columns=pa.schema([("a", pa.string()), ("b", pa.int64()), ("value", pa.float64())]),
    key=("a", "b"),
    disposition=Disposition.MERGE,
)
_ROW = st.tuples(
    st.sampled_from("xyz"), st.integers(0, 2), st.sampled_from([None, 1.0, 2.0, math.nan])
)


def batch(rows: list[tuple[str, int, float | None]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [dict(zip(("a", "b", "value"), row, strict=True)) for row in rows], CONTRACT.columns
    )


@given(st.lists(_ROW, max_size=12))
def test_keys_come_out_sorted_and_unique_and_no_row_is_lost(
    rows: list[tuple[str, int, float | None]],
) -> None:
    copies: dict[tuple[str, int], list[str]] = {}
    for a, b, value in rows:
        copies.setdefault((a, b), []).append(repr(value))

    keyed = sort_by_key(batch(rows), CONTRACT)

    agreeing = sorted(key for key, values in copies.items() if len(set(values)) == 1)
    found = [(row["a"], row["b"]) for row in keyed.rows.to_pylist()]
    assert found == agreeing
    assert len(found) + keyed.duplicate_count + len(keyed.conflicting) == len(rows)
    assert {rows[i][:2] for i in keyed.conflicting} == copies.keys() - set(agreeing)


def test_copies_that_are_not_a_number_agree_as_they_do_in_postgres() -> None:
    keyed = sort_by_key(batch([("x", 1, math.nan), ("x", 1, math.nan)]), CONTRACT)

    assert (keyed.rows.num_rows, keyed.duplicate_count, keyed.conflicting) == (1, 1, ())


def test_rows_in_order_are_passed_on_as_they_are() -> None:
    rows = batch([("x", 1, 1.0), ("x", 2, None), ("y", 0, 1.0)])

    assert sort_by_key(rows, CONTRACT).rows is rows
