"""The sensor of alerts and the schedule of retention as Dagster sees them."""

from pathlib import Path

import dagster as dg
import psycopg

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.operations.definitions import build_operations_definitions
from batch_assets.settings import Settings, load_settings


def settings_of(folder: Path, url: str, text: str) -> Settings:
    (folder / "batch_assets.toml").write_text(text, encoding="utf-8")
    return load_settings({"BATCH_ASSETS_DATABASE_URL": url}, working_dir=folder)


def sensor_of(settings: Settings) -> dg.SensorDefinition:
    [found] = [
        sensor
        for sensor in build_operations_definitions(settings).sensors or ()
        if sensor.name == "evaluate_alerts"
    ]
    return found


def schedule_of(settings: Settings) -> dg.ScheduleDefinition:
    [found] = build_operations_definitions(settings).schedules or ()
    assert isinstance(found, dg.ScheduleDefinition)
    return found


def states(settings: Settings) -> tuple[dg.DefaultSensorStatus, dg.DefaultScheduleStatus]:
    return sensor_of(settings).default_status, schedule_of(settings).default_status


def test_both_are_off_until_their_section_is_written(tmp_path: Path) -> None:
    off = dg.DefaultSensorStatus.STOPPED, dg.DefaultScheduleStatus.STOPPED
    on = dg.DefaultSensorStatus.RUNNING, dg.DefaultScheduleStatus.RUNNING

    assert states(settings_of(tmp_path, "", "")) == off
    assert states(settings_of(tmp_path, "", "[alerts]\n[retention]\n")) == on
    assert states(settings_of(tmp_path, "", "[alerts]\nis_on = false\n"))[0] == off[0]


def test_sensor_evaluates_once_in_its_interval(postgres: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, postgres, "[alerts.rules.undelivered]\nfor_seconds = 0\n")
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO devices.outbox (destination, bucket, device_sn, kind, payload, load_id,"
            " dead_at) VALUES ('webhook', 1, 'a', 'state', '{}', 1, now())"
        )
    sensor = sensor_of(settings)

    def look() -> str:
        with dg.build_sensor_context(
            resources={"postgres": PostgresCopyResource(url=postgres)}
        ) as context:
            reason = sensor(context)
        assert isinstance(reason, dg.SkipReason)
        return str(reason.skip_message)

    assert look() == "1 alerts fire, 1 began, 0 ended; 1 messages sent, 0 not taken."
    assert look().startswith("Evaluated by another process lately")


def test_job_prunes(postgres: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, postgres, "[retention]\naudit_days = 1\n")
    with psycopg.connect(postgres) as conn:
        conn.execute(
            "INSERT INTO ops.audit (actor, action, subject, happened_at)"
            " VALUES ('a', 'b', 'c', now() - interval '2 days'), ('a', 'b', 'd', now())"
        )
    job = schedule_of(settings).job

    result = job.execute_in_process(
        resources={"postgres": PostgresCopyResource(url=postgres), "clock": ClockResource()}
    )

    assert result.success
    with psycopg.connect(postgres) as conn:
        assert conn.execute("SELECT subject FROM ops.audit").fetchall() == [("d",)]
