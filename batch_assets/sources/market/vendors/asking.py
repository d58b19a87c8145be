"""Asking a vendor again: only after failures that time can mend, and not for ever."""

import random
from collections.abc import Callable
from typing import TypeVar

import stamina

from batch_assets.errors import SourceRateLimited, SourceUnavailable
from batch_assets.sources.market.feed import VendorFeed

T = TypeVar("T")

_LONGEST_WAIT_SECONDS = 60.0


def ask(feed: VendorFeed, question: Callable[[], T]) -> T:
    """The answer to a question, asked up to `attempts` times.

    Waits grow exponentially with full jitter. Where a vendor says how long to wait, that is kept,
    as long as all waits of this question stay within `max_wait_seconds`.

    Raises:
        SourceUnavailable: The last failure.
    """
    waits = _Waits(feed)
    for attempt in stamina.retry_context(on=waits.wait_after, attempts=feed.attempts, timeout=None):
        with attempt:
            return question()
    raise AssertionError("unreachable: the last failure is raised by the attempt")


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
