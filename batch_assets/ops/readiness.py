"""Whether the parts of a stack answer yet, and which ports they may take."""

import socket

from batch_assets.errors import ConfigurationError, InfrastructureError, WebserverUnavailable
from batch_assets.runs.graphql import describe_refusal, post_query

_ANSWER_SECONDS = 10.0

_LOCATION_QUERY = """
query Locations {
  workspaceOrError {
    __typename
    ... on Workspace {
      locationEntries {
        name
        loadStatus
        locationOrLoadError { __typename ... on PythonError { message } }
      }
    }
    ... on PythonError { message }
  }
}
"""


def usable_port(host: str, port: int) -> int:
    """`port` if it can be bound on this address, a free one for 0."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the webserver itself binds: a listener refuses us, connections that just ended do not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host} cannot be used: {error.strerror}; expected a free one; "
                "choose another with --port"
            ) from error
        return int(probe.getsockname()[1])


def listens(host: str, port: int) -> bool:
    """Whether something accepts connections there.

    A code server binds its port after it has loaded the definitions, so this says it is ready.
    """
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def webserver_is_ready(webserver_url: str) -> bool:
    """Whether the webserver answers and has loaded its code locations.

    Raises:
        InfrastructureError: It answers, but a code location does not load.
    """
    try:
        reply = post_query(webserver_url, _LOCATION_QUERY, timeout_seconds=_ANSWER_SECONDS)
    except WebserverUnavailable:
        return False
    answer = reply["workspaceOrError"]
    if answer["__typename"] != "Workspace":
        raise InfrastructureError(
            f"the webserver has no workspace: {describe_refusal(answer)}; expected one code "
            "location; read its log"
        )
    for entry in answer["locationEntries"]:
        loaded = entry["locationOrLoadError"] or {}
        if loaded.get("__typename") == "PythonError":
            raise InfrastructureError(
                f"code location '{entry['name']}' does not load: {loaded['message']}; expected "
                "definitions; correct the module, then start again"
            )
    return bool(answer["locationEntries"]) and all(
        entry["loadStatus"] == "LOADED" for entry in answer["locationEntries"]
    )
