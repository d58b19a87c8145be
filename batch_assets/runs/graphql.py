"""Questions to a running webserver over GraphQL.

HTTP is the only public door to backfills: the Python objects behind them are Dagster's own.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from batch_assets.errors import ConfigurationError, RunRefused, WebserverUnavailable

# Launching a backfill over ten years resolves thousands of keys before it answers.
DEFAULT_TIMEOUT_SECONDS = 120.0


def post_query(
    webserver_url: str,
    query: str,
    variables: Mapping[str, object] | None = None,
    *,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """Send one query or mutation; return its `data`.

    Raises:
        ConfigurationError: The URL is not one of a webserver.
        WebserverUnavailable: Nothing answers there.
        RunRefused: The query does not fit the schema of this Dagster version.
    """
    if urlsplit(webserver_url).scheme not in ("http", "https"):
        raise ConfigurationError(
            f"webserver URL is {webserver_url!r}, expected http://host:port; "
            "`batch-assets up` prints it"
        )
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        f"{webserver_url.rstrip('/')}/graphql",
        data=json.dumps({"query": query, "variables": dict(variables or {})}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310
            reply = json.load(response)
    except urllib.error.HTTPError as error:
        # Errors of the query itself come with status 400 and a JSON body.
        reply = _read_refusal(error, webserver_url)
    except (OSError, ValueError) as error:
        raise WebserverUnavailable(
            f"{webserver_url} does not answer: {error}; expected a Dagster webserver; "
            "start one with `batch-assets up`"
        ) from error
    if reply.get("errors"):
        messages = "; ".join(str(item.get("message")) for item in reply["errors"])
        raise RunRefused(
            f"{webserver_url} refused the query: {messages}; expected an answer; "
            "compare the installed Dagster version with pyproject.toml"
        )
    data: dict[str, Any] = reply["data"]
    return data


def describe_refusal(answer: Mapping[str, Any]) -> str:
    """Type and message of an answer that is not the one wanted."""
    parts = [str(answer.get("__typename", "no answer"))]
    parts += [str(answer["message"])] if answer.get("message") else []
    parts += [str(item.get("message")) for item in answer.get("errors", [])]
    return ": ".join(parts)


def _read_refusal(error: urllib.error.HTTPError, webserver_url: str) -> dict[str, Any]:
    try:
        reply = json.load(error)
    except ValueError:
        raise WebserverUnavailable(
            f"{webserver_url}/graphql answered with status {error.code}; expected GraphQL; "
            "check that the URL is the one `batch-assets up` printed"
        ) from error
    return dict(reply)
