"""Sort the rows of one window by key, and find rows that share a key.

Rows are sorted because two writers that touch rows in different orders deadlock, and because
sorted rows are appended to the index instead of scattered over it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.table import TableContract


@dataclass(frozen=True, slots=True)
class KeyedRows:
    """Rows in key order, one per key, and what was set aside.

    Attributes:
        rows: Sorted by key, keys unique.
        duplicate_count: Copies equal in every column to a row that is kept.
        conflicting: Indices, into the rows given, of rows whose key stands for different values.
    """

    rows: pa.RecordBatch
    duplicate_count: int
    conflicting: tuple[int, ...]


def sort_by_key(rows: pa.RecordBatch, contract: TableContract) -> KeyedRows:
    """Order rows by the contract's key and set rows with an equal key aside.

    Copies that agree in every column count as duplicates and one is kept. Where they disagree
    nobody can tell which is right, so none of them is kept.
    """
    key = [name for name in contract.key if name not in contract.scope_columns]
    if rows.num_rows < 2 or not key or _is_strictly_increasing(rows, key):
        return KeyedRows(rows, 0, ())
    order = pc.sort_indices(
        pa.Table.from_batches([rows]), sort_keys=[(name, "ascending") for name in key]
    )
    ordered = rows.take(order)
    same_key = _equals_previous(ordered, key)
    if not same_key.any():
        return KeyedRows(ordered, 0, ())
    same_row = _equals_previous(ordered, [*key, *contract.compared_columns])
    group = np.cumsum(~np.concatenate([[False], same_key]))
    disagreeing = np.unique(group[1:][same_key & ~same_row])
    in_conflict = np.isin(group, disagreeing)
    is_copy = np.concatenate([[False], same_key]) & ~in_conflict
    kept = pa.array(~(in_conflict | is_copy))
    return KeyedRows(
        rows=ordered.filter(kept),
        duplicate_count=int(is_copy.sum()),
        conflicting=tuple(np.asarray(order)[in_conflict].tolist()),
    )


def _is_strictly_increasing(rows: pa.RecordBatch, key: list[str]) -> bool:
    """Whether each row's key is above the previous one's; NULLs make the answer no."""
    above = None
    for name in reversed(key):
        column = rows.column(name)
        if column.null_count:
            return False
        previous, current = column.slice(0, len(column) - 1), column.slice(1)
        greater = pc.greater(current, previous)
        above = (
            greater
            if above is None
            else pc.or_(greater, pc.and_(pc.equal(current, previous), above))
        )
    return above is not None and bool(pc.all(above).as_py())


def _equals_previous(rows: pa.RecordBatch, names: list[str]) -> np.ndarray:
    """For each row but the first, whether it equals the row before.

    NULL equals NULL and NaN equals NaN, as they do where PostgreSQL compares rows.
    """
    equal = np.ones(rows.num_rows - 1, dtype=bool)
    for name in names:
        column = rows.column(name)
        previous, current = column.slice(0, len(column) - 1), column.slice(1)
        both_null = pc.and_(pc.is_null(previous), pc.is_null(current))
        same = pc.or_(pc.fill_null(pc.equal(previous, current), False), both_null)
        if pa.types.is_floating(column.type):
            both_nan = pc.and_(pc.is_nan(previous), pc.is_nan(current))
            same = pc.or_(same, pc.fill_null(both_nan, False))
        equal &= np.asarray(same)
    return equal
