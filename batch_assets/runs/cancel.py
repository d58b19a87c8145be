"""Cancel backfills through a running webserver."""

from batch_assets.errors import RunRefused
from batch_assets.runs.graphql import describe_refusal, post_query

_UNFINISHED = """
{
  partitionBackfillsOrError(status: REQUESTED) {
    __typename
    ... on PartitionBackfills { results { id } }
    ... on PythonError { message }
  }
}
"""

_CANCEL = """
mutation Cancel($id: String!) {
  cancelPartitionBackfill(backfillId: $id) {
    __typename
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""


def cancel_unfinished_backfills(webserver_url: str) -> list[str]:
    """Ask the daemon to end every backfill that still waits or runs; return their ids.

    The daemon does so when it looks at backfills next: it cancels their runs, and launches none.

    Raises:
        RunRefused: Dagster does not accept it.
        WebserverUnavailable: Nothing answers at the URL.
    """
    answer = post_query(webserver_url, _UNFINISHED)["partitionBackfillsOrError"]
    if answer["__typename"] != "PartitionBackfills":
        raise RunRefused(
            f"list of backfills: {describe_refusal(answer)}; expected the unfinished ones; "
            f"see {webserver_url}/runs"
        )
    backfill_ids = [str(backfill["id"]) for backfill in answer["results"]]
    for backfill_id in backfill_ids:
        cancelled = post_query(webserver_url, _CANCEL, {"id": backfill_id})
        reply = cancelled["cancelPartitionBackfill"]
        if reply["__typename"] != "CancelBackfillSuccess":
            raise RunRefused(
                f"backfill {backfill_id}: {describe_refusal(reply)}; expected it to be cancelled; "
                f"see {webserver_url}/runs"
            )
    return backfill_ids
