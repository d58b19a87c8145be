"""The sensor that evaluates alerts while a daemon is alive."""

import dagster as dg

from batch_assets.defs.common.resources import PostgresCopyResource
from batch_assets.monitoring.settings import is_configured, read_alert_settings
from batch_assets.settings import Settings


def build_alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """Runs by itself where `[alerts]` is written; else a person may switch it on."""
    is_on = is_configured(settings)

    @dg.sensor(
        name="evaluate_alerts",
        minimum_interval_seconds=max(1, round(read_alert_settings(settings).evaluate_seconds)),
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
        description="Evaluates the rules of [alerts] and tells its channels, unless `serve` did "
        "so lately. Runs by itself where [alerts] is in batch_assets.toml.",
    )
    def evaluate_alerts(postgres: PostgresCopyResource) -> dg.SkipReason:
        """Look once; the reason says what was seen."""
        from batch_assets.monitoring.watch import watch_alerts

        seen = watch_alerts(postgres.connect, settings, "sensor")
        sent = f"{seen.delivery.sent} messages sent, {seen.delivery.failed} not taken"
        if not seen.is_evaluated:
            return dg.SkipReason(f"Evaluated by another process lately; {sent}.")
        return dg.SkipReason(
            f"{seen.firing} alerts fire, {seen.fired} began, {seen.resolved} ended; {sent}."
        )

    return evaluate_alerts
