"""The one connection that a vendor allows, kept to one process of this machine.

For callers without a database. With one, `ingest/market/vendor_lease.py` keeps it across hosts.
"""

from pathlib import Path

from filelock import FileLock, Timeout

from batch_assets.errors import LeaseHeld
from batch_assets.sources.market.feed import VendorFeed


class FileSoleUse:
    """A lock file; ends with its process."""

    def __init__(self, feed: VendorFeed, lock_dir: Path) -> None:
        self._feed = feed
        address = feed.address.replace("/", "_").replace(":", "-")
        # Taken in the thread that reads, given back in the one that closes.
        self._lock = FileLock(lock_dir / f"{feed.vendor}-{address}.lock", thread_local=False)

    def is_held(self) -> bool:
        """See SoleUse."""
        return self._lock.is_locked

    def hold(self) -> None:
        """See SoleUse."""
        if self._lock.is_locked:
            return
        Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=self._feed.connection_wait_seconds)
        except Timeout as error:
            raise LeaseHeld(
                f"{self._feed.vendor} allows one connection, and another process of this machine "
                f"has kept it for {self._feed.connection_wait_seconds:g} s "
                f"(connection_wait_seconds of feed {self._feed.name}); run the partition again "
                "when that run has ended"
            ) from error

    def release(self) -> None:
        """See SoleUse."""
        self._lock.release(force=True)
