"""Hashes of a window's rows as they are written down: once whole, then as changes to that.

A load in which little differs writes down little; what is whole stays as it is.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch_assets.loading.row_hashes import Booleans, Hashes, are_among

_Places = npt.NDArray[np.int64]

_ADDED = np.dtype([("place", "<u4"), ("hash", "<u8")])
_DROPPED = np.dtype("<u4")

# Changes are kept until they are one hash in so many; then all are written anew.
_CHANGED_SHARE = 8


@dataclass(frozen=True, slots=True)
class HashChanges:
    """How hashes differ from those that are written down.

    Attributes:
        added: Hashes, and their places among all of them as they are now.
        dropped: Places among those that are written down.
    """

    added: bytes = b""
    dropped: bytes = b""


@dataclass(frozen=True, slots=True)
class KnownHashes:
    """Hashes that are written down, with the changes since.

    Attributes:
        hashes: As they are now, in the order of the rows.
        origins: Place of each among those that were written whole; -1 if it was added.
        whole: How many were written whole.
    """

    hashes: Hashes
    origins: _Places
    whole: int

    @classmethod
    def of(cls, whole: bytes, changes: HashChanges) -> "KnownHashes":
        """What columns of ops.row_hashes say."""
        first = np.frombuffer(whole, "<u8")
        added = np.frombuffer(changes.added, _ADDED)
        is_kept = np.ones(len(first), np.bool_)
        is_kept[np.frombuffer(changes.dropped, _DROPPED)] = False
        kept = np.flatnonzero(is_kept)
        is_first = np.ones(len(kept) + len(added), np.bool_)
        is_first[added["place"]] = False
        origins = np.full(len(is_first), -1, np.int64)
        origins[is_first] = kept
        hashes = np.empty(len(is_first), np.uint64)
        hashes[is_first] = first[kept]
        hashes[added["place"]] = added["hash"]
        return cls(hashes, origins, len(first))

    def find(self, hashes: Hashes) -> Booleans:
        """Which of the hashes are known."""
        return are_among(hashes, self.hashes)

    def change_to(self, hashes: Hashes, is_known: Booleans) -> HashChanges | None:
        """What makes these hashes of the known ones.

        Args:
            hashes: Of the rows as they are to be known from now on.
            is_known: What `find` says of them.

        Returns:
            None if that is so much that all are better written anew, or the order is another one.
        """
        stays = are_among(self.hashes, hashes)
        if not np.array_equal(self.hashes[stays], hashes[is_known]):
            return None
        origins = np.full(len(hashes), -1, np.int64)
        origins[is_known] = self.origins[stays]
        places = np.flatnonzero(origins < 0)
        is_dropped = np.ones(self.whole, np.bool_)
        is_dropped[origins[origins >= 0]] = False
        dropped = np.flatnonzero(is_dropped)
        if (len(places) + len(dropped)) * _CHANGED_SHARE > self.whole:
            return None
        added = np.empty(len(places), _ADDED)
        added["place"] = places
        added["hash"] = hashes[places]
        return HashChanges(added.tobytes(), dropped.astype(_DROPPED).tobytes())


def as_bytes(hashes: Hashes) -> bytes:
    """All hashes, whole."""
    return hashes.astype("<u8", copy=False).tobytes()
