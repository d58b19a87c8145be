"""The one place where our errors become Dagster's: may the step be tried again?"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from batch_assets.errors import BatchAssetsError
from batch_assets.postgres.connect import translating_errors

# Tries after the first one, for infrastructure errors only.
MAX_RETRIES = 3

# Upper bound of the first wait, doubled each time. The wait itself is drawn from zero upwards (full
# jitter), so that many runs do not come back at the same moment.
FIRST_WAIT_SECONDS = 2.0


@contextmanager
def translating_failures(attempt: int) -> Iterator[None]:
    """Let Dagster retry what a retry can help, and nothing else.

    An asset's `retry_policy` would also retry errors of programming and a run that a person
    cancels, which is why there is none.

    Args:
        attempt: Tries before this one; `retry_number` of the step.
    """
    try:
        with translating_errors():
            yield
    except BatchAssetsError as error:
        if error.retryable:
            wait_seconds = random.uniform(0, FIRST_WAIT_SECONDS * 2**attempt)  # noqa: S311 - no secret
            raise dg.RetryRequested(MAX_RETRIES, wait_seconds) from error
        raise dg.Failure(
            description=f"{type(error).__name__}: {error}", allow_retries=False
        ) from error
