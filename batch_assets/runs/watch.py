"""Follow a backfill to its end through a running webserver.

The counts are Dagster's view of partitions, renewed by its daemon about every 30 seconds. What
happened to rows is in ops.loads, which changes with every commit.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from batch_assets.errors import InfrastructureError, RunRefused
from batch_assets.runs.graphql import describe_refusal, post_query

_STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      numPartitions
      error { message }
      assetBackfillData {
        assetBackfillStatuses {
          __typename
          ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted
            numPartitionsInProgress
            numPartitionsMaterialized
            numPartitionsFailed
          }
        }
      }
    }
    ... on BackfillNotFoundError { message }
    ... on PythonError { message }
  }
}
"""


class BackfillState(StrEnum):
    """Dagster's states of a backfill."""

    REQUESTED = "REQUESTED"
    COMPLETED = "COMPLETED"
    COMPLETED_SUCCESS = "COMPLETED_SUCCESS"
    COMPLETED_FAILED = "COMPLETED_FAILED"
    FAILING = "FAILING"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Nothing more will happen."""
        return self not in _UNFINISHED


_UNFINISHED = frozenset({BackfillState.REQUESTED, BackfillState.FAILING, BackfillState.CANCELING})


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """A backfill at one moment.

    Attributes:
        targeted: Partitions asked for, summed over its assets.
        materialized: Partitions with a materialisation of this backfill.
        failed: Partitions whose run failed.
        in_progress: Partitions in a run that is queued or running.
        error: Why the backfill itself failed, if it did.
    """

    state: BackfillState
    targeted: int
    in_progress: int
    materialized: int
    failed: int
    error: str | None = None

    @property
    def done(self) -> int:
        """Partitions that are materialised or failed."""
        return self.materialized + self.failed


def read_backfill(webserver_url: str, backfill_id: str) -> BackfillProgress:
    """Where a backfill stands now.

    Raises:
        RunRefused: The webserver does not know the id.
        WebserverUnavailable: Nothing answers at the URL.
    """
    answer = post_query(webserver_url, _STATUS, {"id": backfill_id})["partitionBackfillOrError"]
    if answer["__typename"] != "PartitionBackfill":
        raise RunRefused(
            f"backfill {backfill_id}: {describe_refusal(answer)}; expected one that was launched "
            f"here; {webserver_url}/runs lists them"
        )
    return _as_progress(answer)


def watch_backfill(
    webserver_url: str,
    backfill_id: str,
    *,
    poll_seconds: float = 1.0,
    deadline_seconds: float | None = None,
) -> Iterator[BackfillProgress]:
    """Follow a backfill to its end.

    Args:
        webserver_url: As `batch-assets up` prints it.
        backfill_id: As `launch_backfill` returned it.
        poll_seconds: Between two looks.
        deadline_seconds: Give up after so long; None waits for ever.

    Yields:
        Its progress at the first look and whenever it changed; the last one is final.

    Raises:
        InfrastructureError: The deadline passed.
        RunRefused: The webserver does not know the id.
    """
    started = time.monotonic()
    last: BackfillProgress | None = None
    while True:
        progress = read_backfill(webserver_url, backfill_id)
        if progress != last:
            yield progress
        last = progress
        if progress.state.is_final:
            return
        if deadline_seconds is not None and time.monotonic() - started > deadline_seconds:
            raise InfrastructureError(
                f"backfill {backfill_id} is {progress.state} with {progress.done} of "
                f"{progress.targeted} partitions done after {deadline_seconds:.0f} s, expected "
                f"its end; see {webserver_url}/runs, and whether the daemon runs"
            )
        time.sleep(poll_seconds)


def _as_progress(answer: dict[str, Any]) -> BackfillProgress:
    statuses = [
        status
        for status in (answer["assetBackfillData"] or {}).get("assetBackfillStatuses", [])
        if status["__typename"] == "AssetPartitionsStatusCounts"
    ]
    return BackfillProgress(
        state=BackfillState(answer["status"]),
        # Until the daemon has looked at it there are no counts, but the number asked for is known.
        targeted=sum(status["numPartitionsTargeted"] for status in statuses)
        or answer["numPartitions"]
        or 0,
        in_progress=sum(status["numPartitionsInProgress"] for status in statuses),
        materialized=sum(status["numPartitionsMaterialized"] for status in statuses),
        failed=sum(status["numPartitionsFailed"] for status in statuses),
        error=(answer["error"] or {}).get("message"),
    )
