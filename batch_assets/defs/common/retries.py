"""The one place where our errors become Dagster's: may the step be tried again?"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from batch_assets.errors import BatchAssetsError

# Infrastructure errors only: 3 tries after the first, 1 s doubled each time, with full jitter so
# that many runs do not come back at the same moment.
RETRY_POLICY = dg.RetryPolicy(
    max_retries=3, delay=1, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.FULL
)


@contextmanager
def translating_failures() -> Iterator[None]:
    """Let Dagster retry what a retry can help, and nothing else."""
    try:
        yield
    except BatchAssetsError as error:
        raise dg.Failure(
            description=f"{type(error).__name__}: {error}", allow_retries=error.retryable
        ) from error
