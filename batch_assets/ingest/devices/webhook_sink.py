"""A URL as a destination of alerts: one POST with a JSON object each."""

from collections.abc import Mapping, Sequence

from batch_assets.errors import ConfigurationError, DestinationUnavailable
from batch_assets.loading.device_outbox import Message
from batch_assets.sources.secret_addresses import hide_paths

_TIMEOUT_SECONDS = 10.0
# It may say these of any message: the receiver is busy, or something between us and it.
_BUSY = frozenset({408, 425, 429, 502, 503, 504})


class WebhookSink:
    """A receiver of alerts; `Idempotency-Key` tells it what it has received before."""

    # One after the other, and a transaction lasts as long.
    messages_max = 20

    def __init__(self, url: str, variable: str) -> None:
        """Prepare a client; it connects with the first message.

        Args:
            variable: Where the URL is from, for messages.

        Raises:
            ConfigurationError: The URL is none.
        """
        if not url.startswith(("https://", "http://")):
            raise ConfigurationError(f"{variable} is no URL, expected https://…; correct it")
        import httpx

        self._url = url
        hide_paths()
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS)

    def send(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Post messages, one after the other."""
        import httpx

        refused = {}
        for message in messages:
            assert isinstance(message.payload, dict)  # noqa: S101 - made by our own statements
            body = {"outbox_id": message.outbox_id, "kind": message.kind, **message.payload}
            key = {"Idempotency-Key": f"batch-assets-{message.outbox_id}"}
            try:
                answer = self._client.post(self._url, json=body, headers=key)
            except httpx.HTTPError as error:
                raise _unavailable(type(error).__name__) from error
            if answer.status_code in _BUSY:
                raise _unavailable(f"status {answer.status_code}")
            if not answer.is_success:
                refused[message.outbox_id] = f"status {answer.status_code}: {answer.text[:200]}"
        return refused

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _unavailable(seen: str) -> DestinationUnavailable:
    # Not the URL: receivers keep their password in it.
    return DestinationUnavailable(
        f"the receiver of alerts takes nothing now ({seen}); messages wait in devices.outbox and "
        "are sent when it answers; start it, or correct its URL"
    )
