"""Redis as a destination: the state of a device as a hash, and a channel that is told of it.

Keys and channels are those of the original design: `health_data:<device>` and
`health_data_channel:<device>`; alerts go to `health_alert_channel:<device>`. The id of a message is
in the hash and in what is published, as `outbox_id`; in the hash also when it was put into the
outbox, as `outbox_at` in microseconds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batch_assets.errors import ConfigurationError, DestinationUnavailable
from batch_assets.loading.device_outbox import Message

if TYPE_CHECKING:
    from redis.client import Pipeline

_TIMEOUT_SECONDS = 5.0
# Hash and channel change together. A message that is sent again after a crash, or late, is
# published, and leaves the hash as newer ones have made it. By time, not by id: ids of another
# database on the same Redis may be higher.
_WRITE_STATE = """
local known = redis.call('HGET', KEYS[1], 'outbox_at')
if not known or tonumber(known) <= tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'outbox_id', ARGV[1], 'outbox_at', ARGV[2], unpack(ARGV, 5))
end
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""
# What Redis says of itself and not of one message.
_UNAVAILABLE_WORDS = ("OOM", "READONLY", "LOADING", "MASTERDOWN", "MISCONF", "NOPERM", "NOAUTH")


class RedisSink:
    """A Redis server, 4 or newer."""

    messages_max = 500

    def __init__(self, url: str, variable: str) -> None:
        """Prepare a client; it connects with the first message.

        Args:
            variable: Where the URL is from, for messages.

        Raises:
            ConfigurationError: The URL is none, or the client is not installed.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ConfigurationError(
                f"{variable} names a Redis, and its client is not installed; "
                "pip install 'batch-assets[redis]', or empty the variable"
            ) from error
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_SECONDS,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                # For a connection that was closed while it was idle; the relay waits for the rest.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError:
            # Not its text: it may show the password.
            raise ConfigurationError(
                f"{variable} is no URL of a Redis; expected redis://host:6379/0, rediss:// or unix://"
            ) from None
        self._write_state = self._client.register_script(_WRITE_STATE)

    def send(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Send messages of different devices, in one trip."""
        from redis.exceptions import RedisError

        refused: dict[int, str] = {}
        sent: list[Message] = []
        with self._client.pipeline(transaction=False) as pipeline:
            for message in messages:
                if message.kind == "state" and not isinstance(message.payload, dict):
                    refused[message.outbox_id] = "redis_data is no object of names and values"
                    continue
                self._add(pipeline, message)
                sent.append(message)
            try:
                answers = pipeline.execute(raise_on_error=False) if sent else []
            except (RedisError, OSError) as error:
                raise _unavailable(error) from error
        for message, answer in zip(sent, answers, strict=True):
            if isinstance(answer, Exception):
                if any(word in str(answer).upper() for word in _UNAVAILABLE_WORDS):
                    raise _unavailable(answer)
                refused[message.outbox_id] = f"{type(answer).__name__}: {answer}"
        return refused

    def _add(self, pipeline: "Pipeline", message: Message) -> None:
        device, number = message.device_sn, message.outbox_id
        if message.kind != "state":
            assert isinstance(message.payload, dict)  # noqa: S101 - made by our own statements
            told = {"outbox_id": number, "kind": message.kind, **message.payload}
            pipeline.publish(f"health_alert_channel:{device}", _json(told))
            return
        assert isinstance(message.payload, dict)  # noqa: S101 - send refuses others
        fields = [
            text
            for name, value in message.payload.items()
            if value is not None
            for text in (name, value if isinstance(value, str) else _json(value))
        ]
        self._write_state(
            keys=[f"health_data:{device}"],
            args=[
                number,
                round(message.created_at.timestamp() * 1_000_000),
                f"health_data_channel:{device}",
                _json({**message.payload, "outbox_id": number}),
                *fields,
            ],
            client=pipeline,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unavailable(error: Exception) -> DestinationUnavailable:
    return DestinationUnavailable(
        f"Redis takes nothing now ({type(error).__name__}: {error}); messages wait in "
        "devices.outbox and are sent when it answers; start it, or correct its URL"
    )
