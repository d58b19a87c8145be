"""Counts the questions a vendor is asked, on their way through its limit."""

import threading

from batch_assets.errors import SourceUnavailable
from batch_assets.sources.market.vendors.vendor import Throttle, Unthrottled


class CallMeter:
    """A throttle that counts what another one lets pass; usable by the threads of one source."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        self._throttle = throttle or Unthrottled()
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        """Questions asked so far; one that is asked again counts again."""
        return self._calls

    def take(self) -> float:
        """See Throttle."""
        wait_seconds = self._throttle.take()
        if wait_seconds <= 0:
            with self._lock:
                self._calls += 1
        return wait_seconds

    def succeeded(self) -> None:
        """See Throttle."""
        self._throttle.succeeded()

    def failed(self, error: SourceUnavailable) -> None:
        """See Throttle."""
        self._throttle.failed(error)

    def close(self) -> None:
        """See Throttle."""
        self._throttle.close()
