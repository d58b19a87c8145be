"""64 bits for each row, equal for equal values: what a row said when it was written.

Rows that say the same have the same hash whatever batch they come in; rows that differ share one
by chance once in 2^64. Equal hashes therefore stand for equal rows; different ones prove nothing,
and the server compares those rows. All rows of a column are hashed at once, with numpy.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.contracts.decimals import words

# Raised whenever the same row would get another hash: stored hashes are worth nothing then.
ALGORITHM = 1

Hashes = npt.NDArray[np.uint64]
Booleans = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# Odd numbers of 64 random-looking bits: of SplitMix64, MurmurHash3 and xxHash64.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_UPPER = np.uint64(0xC2B2AE3D27D4EB4F)
_IS_NULL = np.uint64(0x165667B19E3779F9)

_ROUNDS = ((np.uint64(30), _FIRST), (np.uint64(27), _SECOND))
_LAST_SHIFT = np.uint64(31)

# Longer texts are hashed one by one; up to here eight bytes of all of them at a time are faster.
_SHORT_BYTES = 64
_WORD_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)


def hash_each_row(rows: pa.RecordBatch, names: Sequence[str]) -> Hashes | None:
    """One hash a row over the named columns.

    Returns:
        None where a column is of a type whose bytes are not known here.
    """
    state = np.full(rows.num_rows, _STEP, np.uint64)
    for name in names:
        column = rows.column(name)
        values = _values_of(column)
        if values is None:
            return None
        if not column.null_count:
            _mix_in(state, values)
            continue
        is_null = pc.is_null(column).to_numpy(zero_copy_only=False)
        _mix_in(state, np.where(is_null, _IS_NULL, values))
        # Once more, or a NULL would be the one value that looks like it.
        again = state[is_null]
        _mix_in(again, np.full(len(again), _IS_NULL))
        state[is_null] = again
    return state


def are_among(hashes: Hashes, others: Hashes) -> Booleans:
    """Which hashes are among others; quickest where both are in the same order."""
    found = np.zeros(len(hashes), np.bool_)
    both = min(len(hashes), len(others))
    np.equal(hashes[:both], others[:both], out=found[:both])
    rest = np.flatnonzero(~found)
    if rest.size and both:
        ordered = np.sort(others)
        wanted = hashes[rest]
        places = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        found[rest] = ordered[places] == wanted
    return found


def _mix_in(state: Hashes, values: Hashes) -> None:
    """SplitMix64 of the state and the next column; which column it is counts too."""
    shifted = np.empty_like(state)
    state ^= values
    state += _STEP
    for shift, factor in _ROUNDS:
        np.right_shift(state, shift, out=shifted)
        state ^= shifted
        state *= factor
    np.right_shift(state, _LAST_SHIFT, out=shifted)
    state ^= shifted


def _values_of(column: pa.Array) -> Hashes | None:
    """64 bits a value; behind a NULL may be anything."""
    kind = column.type
    if pa.types.is_boolean(kind):
        bits = pc.cast(pc.fill_null(column, False), pa.uint8())
        return np.asarray(bits.to_numpy(), np.uint64)
    if pa.types.is_decimal128(kind):
        lower, upper = words(column)
        return lower.view(np.uint64) + upper.view(np.uint64) * _UPPER
    if pa.types.is_primitive(kind):
        width = kind.bit_width // 8
        bits = np.frombuffer(column.buffers()[1] or b"", f"<u{width}")
        return bits[column.offset : column.offset + len(column)].astype(np.uint64)
    if pa.types.is_fixed_size_binary(kind):
        column = pc.cast(column, pa.binary())
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        pass
    elif not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return None
    return _texts_of(pc.cast(column, pa.large_binary()))


def _texts_of(column: pa.Array) -> Hashes:
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer or bytes(8), np.int64)
    offsets = offsets[column.offset : column.offset + len(column) + 1]
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    # A text is read eight bytes at a time, past its end, and masked: the last one needs room there.
    size = int(offsets[-1] - offsets[0])
    padded = np.zeros(size + 8, np.uint8)
    padded[:size] = np.frombuffer(data or b"", np.uint8, size, int(offsets[0]) if size else 0)
    longest = int(lengths.max(initial=0))
    if longest * len(lengths) == size and _repeats(padded[:size], longest):
        # Sources, currencies and the like: one text in every row.
        return np.repeat(_texts_of(column.slice(0, 1)), len(column))
    if longest <= _SHORT_BYTES:
        if longest * len(lengths) == size:
            return _hash_equally_long(padded, len(lengths), longest)
        return _hash_short(padded, starts, lengths)
    hashes = np.empty(len(column), np.uint64)
    is_short = lengths <= _SHORT_BYTES
    hashes[is_short] = _hash_short(padded, starts[is_short], lengths[is_short])
    for row in np.flatnonzero(~is_short).tolist():
        value = padded[starts[row] : starts[row] + lengths[row]].data
        hashes[row] = int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little")
    return hashes


def _repeats(octets: Bytes, length: int) -> bool:
    """Whether more than one text of a length, one after the other, are all the same."""
    return len(octets) > length > 0 and bool((octets[length:] == octets[:-length]).all())


def _hash_equally_long(padded: Bytes, count: int, length: int) -> Hashes:
    """The same as `_hash_short`, for codes of a fixed length."""
    hashes = np.full(count, length, np.uint64)
    for position in range(0, max(length, 1), 8):
        eights = np.ndarray((count,), "<u8", padded, position, strides=(length,))
        _mix_in(hashes, eights & _WORD_MASKS[min(length - position, 8)])
    return hashes


def _hash_short(padded: Bytes, starts: Integers, lengths: Integers) -> Hashes:
    eights = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))
    hashes = lengths.astype(np.uint64)
    _mix_in(hashes, eights.take(starts) & _WORD_MASKS.take(np.minimum(lengths, 8)))
    position, rows = 8, np.flatnonzero(lengths > 8)
    while rows.size:
        left = lengths[rows] - position
        mixed = hashes[rows]
        places = starts[rows] + position
        _mix_in(mixed, eights.take(places) & _WORD_MASKS.take(np.minimum(left, 8)))
        hashes[rows] = mixed
        position, rows = position + 8, rows[left > 8]
    return hashes
