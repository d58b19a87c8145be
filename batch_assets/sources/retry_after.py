"""How long a server over HTTP asks us to wait; vendors and models alike send it."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for; None if there is none that can be read.

    Args:
        header: Seconds, or an HTTP date.
        now: The present, aware.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - now).total_seconds(), 0.0)
