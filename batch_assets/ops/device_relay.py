"""What the command line does with the outbox of devices: look at it, and send what waits."""

import threading
from contextlib import closing
from functools import partial

from batch_assets.errors import ConfigurationError
from batch_assets.ingest.devices.relay import RelayReport, relay_as_configured, relaying
from batch_assets.ingest.devices.sinks import open_sinks
from batch_assets.loading.device_outbox import Backlog, read_backlogs, revive_dead_messages
from batch_assets.loading.leases import Connector
from batch_assets.ops.service import ready_database_url
from batch_assets.postgres.connect import connect, translating_errors
from batch_assets.settings import Settings, load_settings


def list_backlogs() -> list[Backlog]:
    """What waits in the outbox, by destination."""
    with translating_errors(), closing(_connector(load_settings())()) as conn:
        return read_backlogs(conn)


def relay_devices(*, retry_dead: bool = False) -> RelayReport:
    """Send what is due, until nothing is.

    Args:
        retry_dead: Messages that were given up are sent too, after all others.

    Raises:
        ConfigurationError: No destination is configured.
    """
    settings = load_settings()
    _require_destination(settings)
    connector = _connector(settings)
    report = relay_as_configured(connector, settings)
    if retry_dead:
        with translating_errors(), closing(connector()) as conn:
            revive_dead_messages(conn)
            conn.commit()
        again = relay_as_configured(connector, settings)
        report.sent += again.sent
        report.refused += again.refused
        report.dead += again.dead
        report.held_shards |= again.held_shards
        report.unavailable |= again.unavailable
    return report


def watch_devices(stop: threading.Event) -> None:
    """Send what is due, as soon as it is, until `stop` is set.

    Raises:
        ConfigurationError: No destination is configured.
    """
    settings = load_settings()
    _require_destination(settings)
    with relaying(_connector(settings), settings):
        stop.wait()


def _require_destination(settings: Settings) -> None:
    with open_sinks(settings) as sinks:
        if not sinks:
            raise ConfigurationError(
                f"{settings.config_file}: no destination is configured, or its variable is empty; "
                "write redis_url_env into [devices] or webhook_url_env into [devices.alerts], and "
                "set the variable"
            )


def _connector(settings: Settings) -> Connector:
    return partial(
        connect,
        ready_database_url(),
        application_name="batch_assets devices relay",
        options=settings.database,
    )
