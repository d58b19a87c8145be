"""Where messages about devices are sent: what a destination is, and which ones are configured."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from batch_assets.ingest.devices.redis_sink import RedisSink
from batch_assets.ingest.devices.webhook_sink import WebhookSink
from batch_assets.loading.device_outbox import Message
from batch_assets.settings import Settings
from batch_assets.sources.devices.alert_rules import read_alert_settings
from batch_assets.sources.devices.settings import read_device_settings


class Sink(Protocol):
    """A destination.

    Attributes:
        messages_max: Most that are sent between two commits.
    """

    messages_max: int

    def send(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Send messages of different devices.

        Returns:
            Why messages were refused, by outbox_id; all others have arrived.

        Raises:
            DestinationUnavailable: It does not answer, or takes nothing now; any of them may have
                arrived.
        """

    def close(self) -> None:
        """Give connections back."""


@contextmanager
def open_sinks(settings: Settings) -> Iterator[Mapping[str, Sink]]:
    """The destinations that are configured, by name; nothing is connected yet.

    Raises:
        ConfigurationError: A URL cannot be used, or its client is not installed.
    """
    section = read_device_settings(settings)
    alerts = read_alert_settings(section.alerts)
    redis_url = settings.secret(section.redis_url_env) if section.redis_url_env else None
    webhook_url = settings.secret(alerts.webhook_url_env) if alerts.webhook_url_env else None
    with ExitStack() as stack:
        sinks: dict[str, Sink] = {}
        if redis_url is not None:
            sinks["redis"] = RedisSink(redis_url.get_secret_value(), section.redis_url_env)
        if webhook_url is not None:
            sinks["webhook"] = WebhookSink(webhook_url.get_secret_value(), alerts.webhook_url_env)
        for sink in sinks.values():
            stack.callback(sink.close)
        yield sinks
