"""Asking a vendor: when its limit allows, and again only after failures that time can mend."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from batch_assets.errors import SourceRateLimited, SourceUnavailable
from batch_assets.sources.market.feed import VendorFeed
from batch_assets.sources.market.vendors.vendor import Throttle

T = TypeVar("T")

_LONGEST_WAIT_SECONDS = 60.0


def ask(feed: VendorFeed, throttle: Throttle, question: Callable[[], T]) -> T:
    """The answer to a question, asked up to `attempts` times, each when the throttle allows.

    Waits grow exponentially with full jitter. Where a vendor says how long to wait, that is kept,
    as long as all waits of this question stay within `max_wait_seconds`.

    Raises:
        SourceUnavailable: The last failure.
    """
    import stamina

    waits = _Waits(feed)
    for attempt in stamina.retry_context(on=waits.wait_after, attempts=feed.attempts, timeout=None):
        with attempt:
            return _ask_once(feed, throttle, question)
    raise AssertionError("unreachable: the last failure is raised by the attempt")


def _ask_once(feed: VendorFeed, throttle: Throttle, question: Callable[[], T]) -> T:
    _wait_turn(feed, throttle)
    try:
        answer = question()
    except SourceUnavailable as error:
        throttle.failed(error)
        raise
    throttle.succeeded()
    return answer


def _wait_turn(feed: VendorFeed, throttle: Throttle) -> None:
    waited_seconds = 0.0
    while (wait_seconds := throttle.take()) > 0:
        waited_seconds += wait_seconds
        if waited_seconds > feed.max_wait_seconds:
            raise SourceRateLimited(
                f"{feed.vendor} may not be asked for another {wait_seconds:.0f} s: the limit of "
                f"feed {feed.name} is used up, or the vendor was down just now; more than "
                "max_wait_seconds; run the partition again after that",
                retry_after_seconds=wait_seconds,
            )
        time.sleep(wait_seconds)


class _Waits:
    """How long to wait after each failure of one question."""

    def __init__(self, feed: VendorFeed) -> None:
        self._feed = feed
        self._failures = 0
        self._waited_seconds = 0.0

    def wait_after(self, error: Exception) -> float | bool:
        """Seconds to wait, or False where asking again cannot help."""
        if isinstance(error, SourceRateLimited):
            # A little more than the vendor says, or its clock and ours may differ.
            wait_seconds = error.retry_after_seconds + random.uniform(0, 0.5)  # noqa: S311 - no secret
            if self._waited_seconds + wait_seconds > self._feed.max_wait_seconds:
                return False
            self._waited_seconds += wait_seconds
            return wait_seconds
        if not isinstance(error, SourceUnavailable):
            return False
        longest = self._feed.first_wait_seconds * 2.0**self._failures
        self._failures += 1
        return random.uniform(0, min(longest, _LONGEST_WAIT_SECONDS))  # noqa: S311 - no secret
