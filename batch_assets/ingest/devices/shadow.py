"""Code of the user on the records of chosen buckets: compared in shadow, or stored once switched.

A function takes a record batch of `devices.records` (its columns, `extra` as JSON text and
`row_number`) and returns the same rows, changed or fewer. It runs in the process that writes, in
the transaction of the part: it must be quick, and must not wait for anything. One in shadow that
does not return in time is ended, and holds nothing up; one that is live is waited for.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.errors import BatchAssetsError, DataError, SchemaMismatch
from batch_assets.loading.device_shadows import (
    Difference,
    ShadowBucket,
    end_shadow,
    read_shadow_buckets,
    record_comparison,
)
from batch_assets.sources.devices.shards import buckets_of
from batch_assets.sources.tables.functions import as_batch, find_function

_SHADOW_SECONDS = 10.0


def run_chosen_code(conn: psycopg.Connection, load_id: int, rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows to be stored; where a function runs in shadow, what it gave is compared.

    Args:
        rows: Records of any buckets.

    Returns:
        As many rows, or fewer: live functions may leave some out.

    Raises:
        DataError: A live function fails on these rows; nothing of a function in shadow is raised.
        ConfigurationError: A live function cannot be found.
    """
    chosen = {
        one.bucket: one
        for one in read_shadow_buckets(conn)
        if one.live_function is not None or one.shadow_function is not None
    }
    if not chosen or not rows.num_rows:
        return rows
    buckets = buckets_of(rows.column("device_sn"))
    is_chosen = pc.is_in(buckets, value_set=pa.array(sorted(chosen), buckets.type))
    if not pc.any(is_chosen).as_py():
        return rows
    stored = [rows.filter(pc.invert(is_chosen))]
    for (live, shadow), members in _by_code(chosen.values()).items():
        concerned = rows.filter(pc.is_in(buckets, value_set=pa.array(members, buckets.type)))
        if not concerned.num_rows:
            continue
        kept = concerned if live is None else _run_live(live, concerned)
        stored.append(kept)
        if shadow is not None:
            _compare(conn, load_id, shadow, concerned, kept)
    return pa.concat_batches(stored)


def _by_code(
    chosen: Iterable[ShadowBucket],
) -> dict[tuple[str | None, str | None], list[int]]:
    found: dict[tuple[str | None, str | None], list[int]] = {}
    for one in chosen:
        found.setdefault((one.live_function, one.shadow_function), []).append(one.bucket)
    return found


def _run_live(function: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    call = find_function(function)
    try:
        return _call(call, function, rows)
    except BatchAssetsError as error:
        raise DataError(str(error)) from error
    # It is the user's code: whatever it raises says that it cannot do with these rows.
    except Exception as error:
        raise DataError(
            f"{function} failed with {type(error).__name__}: {error}; expected the rows it was "
            "given, changed or fewer; mend it, or run batch-assets devices shadow rollback"
        ) from error


def _call(call: object, function: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    assert callable(call)  # noqa: S101 - find_function has looked
    result = as_batch(call(rows), rows.schema, function)
    numbers = result.column("row_number")
    known = pc.index_in(numbers, value_set=rows.column("row_number"))
    if known.null_count or len(numbers.unique()) < len(numbers):
        raise SchemaMismatch(
            f"{function} returned rows that it was not given, or some twice; expected each "
            "row_number of its input at most once; leave row_number as it is"
        )
    devices = rows.column("device_sn").take(known)
    if not pc.all(pc.equal(result.column("device_sn"), devices)).as_py():
        raise SchemaMismatch(
            f"{function} gave rows to other devices; expected device_sn as it was: another shard "
            "may have that device now"
        )
    return result


def _compare(
    conn: psycopg.Connection,
    load_id: int,
    function: str,
    given: pa.RecordBatch,
    stored: pa.RecordBatch,
) -> None:
    """Run a function in shadow on rows, and keep where it differs from what is stored."""
    sizes = Counter(buckets_of(given.column("device_sn")).to_pylist())
    differences: list[Difference] = []
    try:
        shadow = _call_in_time(find_function(function), function, given)
    except _NotInTime as error:
        differences = _failed(sizes, str(error))
        end_shadow(conn, function, sorted(sizes))
    # What is stored does not depend on it, whatever it does.
    except Exception as error:  # noqa: BLE001
        differences = _failed(sizes, f"{type(error).__name__}: {error}"[:500])
    else:
        differences = find_differences(stored, shadow)
    record_comparison(conn, load_id, sizes, differences)


def _failed(sizes: Mapping[int, int], reason: str) -> list[Difference]:
    return [
        Difference(bucket, "failed", reason=reason, row_count=count)
        for bucket, count in sorted(sizes.items())
    ]


class _NotInTime(Exception):
    """A function in shadow is still busy."""


def _call_in_time(call: object, function: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    result: Future[pa.RecordBatch] = Future()

    def run() -> None:
        try:
            result.set_result(_call(call, function, rows))
        # Whatever it is, the caller raises it.
        except BaseException as error:  # noqa: BLE001
            result.set_exception(error)

    # A thread cannot be ended; this one keeps neither the part nor the end of the process waiting.
    Thread(target=run, name=f"shadow {function}", daemon=True).start()
    try:
        return result.result(_SHADOW_SECONDS)
    except TimeoutError as error:
        if result.done():
            raise
        raise _NotInTime(
            f"{function} did not return within {_SHADOW_SECONDS:g} s, and runs no longer in shadow "
            "in this bucket; make it quicker, restart the process it is still busy in, and run "
            "batch-assets devices shadow start"
        ) from error


def find_differences(stored: pa.RecordBatch, shadow: pa.RecordBatch) -> list[Difference]:
    """Rows that are not the same in both, by `row_number`.

    Args:
        stored: Rows that are stored.
        shadow: Those that a function in shadow gave for the same input, in any order.
    """
    found: list[Difference] = []
    for ours, theirs in ((stored, shadow), (shadow, stored)):
        place = pc.index_in(ours.column("row_number"), value_set=theirs.column("row_number"))
        alone = ours.filter(pc.is_null(place))
        for bucket, row in _with_buckets(alone):
            values = _texts(row, list(row))
            sides = (values, None) if ours is stored else (None, values)
            found.append(
                Difference(bucket, "missing", row["device_sn"], row["measured_at"], *sides)
            )
    place = pc.index_in(stored.column("row_number"), value_set=shadow.column("row_number"))
    ours = stored.filter(pc.is_valid(place))
    theirs = shadow.take(place.drop_null())
    differs = None
    for name in stored.schema.names:
        one = _is_distinct(ours.column(name), theirs.column(name))
        differs = one if differs is None else pc.or_(differs, one)
    if differs is None or not pc.any(differs).as_py():
        return found
    pairs = zip(
        _with_buckets(ours.filter(differs)), theirs.filter(differs).to_pylist(), strict=True
    )
    for (bucket, row), other in pairs:
        names = [name for name in row if row[name] != other[name]]
        found.append(
            Difference(
                bucket,
                "changed",
                row["device_sn"],
                row["measured_at"],
                _texts(row, names),
                _texts(other, names),
            )
        )
    return found


def _is_distinct(ours: pa.Array, theirs: pa.Array) -> pa.Array:
    same = pc.fill_null(pc.equal(ours, theirs), False)
    return pc.invert(pc.or_(same, pc.and_(pc.is_null(ours), pc.is_null(theirs))))


def _with_buckets(rows: pa.RecordBatch) -> list[tuple[int, dict[str, Any]]]:
    buckets = buckets_of(rows.column("device_sn")).to_pylist()
    return list(zip(buckets, rows.to_pylist(), strict=True))


def _texts(row: Mapping[str, object], names: Sequence[str]) -> dict[str, str | None]:
    return {name: None if row[name] is None else str(row[name]) for name in names}
