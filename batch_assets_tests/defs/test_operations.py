"""The sensor of alerts and the schedule of retention as Dagster sees them."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.market.assets import asset_key_of
from batch_assets.defs.operations.definitions import build_operations_definitions
from batch_assets.defs.operations.tracked_assets import tracked_assets
from batch_assets.ingest.market.daily_bars import contract_of, scope_of
from batch_assets.ingest.tables.transfer import SCOPE
from batch_assets.ops.backfills.read import list_backfills
from batch_assets.ops.backfills.requests import launch
from batch_assets.settings import Settings, load_settings
from batch_assets.sources.market.feed import build_feeds
from batch_assets_tests.ops.backfills.planted import request
from batch_assets_tests.runs.launched_in_dagster import (
    bars_of,
    days_of,
    launch_in_dagster,
    repository_of,
)


def settings_of(folder: Path, url: str, text: str) -> Settings:
    (folder / "batch_assets.toml").write_text(text, encoding="utf-8")
    return load_settings({"BATCH_ASSETS_DATABASE_URL": url}, working_dir=folder)


def sensor_of(settings: Settings, name: str = "evaluate_alerts") -> dg.SensorDefinition:
    [found] = [
        sensor
        for sensor in build_operations_definitions(settings).sensors or ()
        if sensor.name == name
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


FEED_AND_TRANSFERS = """
[market.feeds.cn]
folder = "cn"
layout = "by_day"
files = "{date}.csv"
calendar = "24/7"
symbol = { style = "cn" }

[tables.transfers.daily]
table = "sales.orders"
target = "copies.orders"
key = ["order_no"]
columns = ["order_no"]
window_column = "day"

[tables.transfers.whole]
table = "sales.orders"
target = "copies.all_orders"
key = ["order_no"]
columns = ["order_no"]
"""


def look_at_backfills(
    settings: Settings, url: str, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> str:
    with dg.build_sensor_context(
        instance=instance,
        repository_def=repository,
        resources={"postgres": PostgresCopyResource(url=url)},
    ) as context:
        reason = sensor_of(settings, "drive_backfills")(context)
    assert isinstance(reason, dg.SkipReason)
    return str(reason.skip_message)


def test_feeds_and_daily_transfers_launched_in_dagster_are_adopted_and_nothing_else(
    postgres: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, postgres, FEED_AND_TRANSFERS)
    assets = {name: days_of("tables", name) for name in ("daily", "whole")}
    repository = repository_of(bars_of("cn"), bars_of("gone"), *assets.values())
    names = ["market/cn/daily_bars", "market/gone/daily_bars", "tables/daily", "tables/whole"]
    with dg.DagsterInstance.ephemeral() as instance:
        for number, name in enumerate(names):
            launch_in_dagster(
                instance,
                repository,
                f"theirs-{number}",
                ["2024-09-30"],
                name,
                launched_at=datetime.now(UTC),
            )

        said = look_at_backfills(settings, postgres, instance, repository)

        assert said == "backfill 1 is Dagster's theirs-2; backfill 2 is Dagster's theirs-0"
        again = look_at_backfills(settings, postgres, instance, repository)
        assert again == "No backfill needs anything."
    with psycopg.connect(postgres) as conn:
        found = {one.asset_key: one.feed for one in list_backfills(conn)}
        loads = conn.execute("SELECT target, scope FROM ops.backfills ORDER BY 1").fetchall()
    assert found == {"market/cn/daily_bars": "cn", "tables/daily": "tables/daily"}
    assert loads == [("copies.orders", ""), ("market.daily_bars", "cn")]


def test_what_is_tracked_is_called_as_its_loads_are_recorded(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "", FEED_AND_TRANSFERS)
    (feed,) = build_feeds(settings.section("market"), settings.config_dir).values()

    tracked = tracked_assets(settings)

    bars, daily = tracked["market/cn/daily_bars"], tracked["tables/daily"]
    assert (bars.target, bars.scope) == (contract_of(feed).target, scope_of(feed).name)
    assert bars.asset_key == asset_key_of(feed).to_user_string()
    assert (daily.target, daily.scope) == ("copies.orders", SCOPE.name)


def test_ours_go_on_where_dagster_cannot_list_its_backfills(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, postgres, FEED_AND_TRANSFERS)
    with psycopg.connect(postgres) as conn:
        launch(conn, request(), "ann")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("the storage does not answer")

    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(instance, "get_backfills", refuse)

        with pytest.raises(OSError, match="the storage does not answer"):
            look_at_backfills(settings, postgres, instance, repository_of())

        with psycopg.connect(postgres) as conn:
            (ours,) = list_backfills(conn)
        assert instance.get_backfill(ours.dagster_backfill_ids[0]) is not None
