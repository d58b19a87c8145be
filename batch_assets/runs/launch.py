"""Launch a backfill of one asset through a running webserver.

What becomes of it is watched in watch.py. The queue's limits are in dagster.yaml.
"""

from collections.abc import Mapping, Sequence

from batch_assets.errors import ConfigurationError, RunRefused
from batch_assets.runs.graphql import describe_refusal, post_query

# Below the 0 of schedules and manual runs, so that today's data is dequeued before history.
BACKFILL_PRIORITY = -10
PRIORITY_TAG = "dagster/priority"

_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PartitionKeysNotFoundError { message }
    ... on InvalidSubsetError { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""


def launch_backfill(
    webserver_url: str,
    asset_key: Sequence[str],
    partition_keys: Sequence[str],
    *,
    tags: Mapping[str, str] | None = None,
    title: str | None = None,
) -> str:
    """Launch an asset backfill; return its id. Nothing is started if it is refused.

    The daemon turns it into runs as the asset's backfill policy says. Runs get a negative
    `dagster/priority` unless `tags` name another.

    Args:
        webserver_url: As `batch-assets up` prints it.
        asset_key: Parts of the key, ["market", "us", "daily_bars"].
        partition_keys: Keys to load, in any order; at least one.
        tags: Set on the backfill and on each of its runs.
        title: Shown in the UI.

    Raises:
        ConfigurationError: There is no key to load.
        RunRefused: The asset or one of the keys is not known.
        WebserverUnavailable: Nothing answers at the URL.
    """
    if not partition_keys:
        raise ConfigurationError(
            f"no partition to load for {'/'.join(asset_key)}, expected at least one; "
            "check the first and the last day of the range"
        )
    all_tags = {PRIORITY_TAG: str(BACKFILL_PRIORITY), **(tags or {})}
    params: dict[str, object] = {
        "assetSelection": [{"path": list(asset_key)}],
        "partitionNames": list(partition_keys),
        "tags": [{"key": key, "value": value} for key, value in all_tags.items()],
    }
    if title:
        params["title"] = title
    answer = post_query(webserver_url, _LAUNCH, {"params": params})["launchPartitionBackfill"]
    if answer["__typename"] != "LaunchBackfillSuccess":
        raise RunRefused(
            f"backfill of {'/'.join(asset_key)}: {describe_refusal(answer)}; expected Dagster to "
            f"accept {len(partition_keys)} partitions; compare asset and keys with {webserver_url}"
        )
    return str(answer["backfillId"])
