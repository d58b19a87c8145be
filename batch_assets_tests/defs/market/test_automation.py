from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from batch_assets_tests.defs.market_files import Market


@pytest.fixture
def definitions(tmp_path: Path, state_dir: Path) -> dg.Definitions:
    """Feeds of three time zones; a schedule needs no database."""
    market = Market(tmp_path, "postgresql://nowhere.invalid/none", state_dir)
    market.add_feed("cn")
    market.add_feed("us", calendar="XNYS")
    market.add_feed("coins", calendar="24/7")
    market.add_feed("late", calendar="XNYS", schedule='"30 2 * * *"')
    return market.definitions()


def request_at(definitions: dg.Definitions, feed: str, due: str) -> dg.RunRequest:
    """What the schedule of a feed asks for at one tick."""
    schedule = definitions.resolve_schedule_def(f"market_sync_{feed}_schedule")
    with dg.build_schedule_context(
        scheduled_execution_time=datetime.fromisoformat(due).astimezone(UTC),
        repository_def=definitions.get_repository_def(),
    ) as context:
        data = schedule.evaluate_tick(context)
    assert data.run_requests is not None
    [request] = data.run_requests
    return request


@pytest.mark.parametrize(
    ("feed", "due", "partition"),
    [
        ("cn", "2024-09-30T16:01:00+08:00", "2024-09-30"),
        # A tick that the daemon makes up for hours later still stands for its own day.
        ("cn", "2024-09-27T16:01:00+08:00", "2024-09-27"),
        # Holidays are asked for too: they are materialised as skipped.
        ("cn", "2024-10-01T16:01:00+08:00", "2024-10-01"),
        # 17:01 in New York is 21:01 UTC in summer and 22:01 in winter, the same date.
        ("us", "2024-09-30T17:01:00-04:00", "2024-09-30"),
        ("us", "2024-12-02T17:01:00-05:00", "2024-12-02"),
        # The days on which the clocks change, 10 March and 3 November 2024, and those after.
        ("us", "2024-03-10T17:01:00-04:00", "2024-03-10"),
        ("us", "2024-03-11T17:01:00-04:00", "2024-03-11"),
        ("us", "2024-11-03T17:01:00-05:00", "2024-11-03"),
        ("us", "2024-11-04T17:01:00-05:00", "2024-11-04"),
        # A leap day, and the last day of a year.
        ("us", "2024-02-29T17:01:00-05:00", "2024-02-29"),
        ("late", "2024-03-01T02:30:00-05:00", "2024-02-29"),
        ("cn", "2024-12-31T16:01:00+08:00", "2024-12-31"),
        # A schedule of one's own after midnight in New York loads the session of the day before,
        # although it is long the next day in UTC.
        ("late", "2024-10-01T02:30:00-04:00", "2024-09-30"),
        # Around midnight UTC: 19:59 and 20:01 in New York are still the day of the close.
        ("us", "2024-09-30T19:59:00-04:00", "2024-09-30"),
        ("us", "2024-09-30T20:01:00-04:00", "2024-09-30"),
        # A coin's day ends at midnight UTC and is due an hour later.
        ("coins", "2024-10-01T01:01:00+00:00", "2024-09-30"),
    ],
)
def test_tick_asks_for_the_trade_date_that_is_due(
    definitions: dg.Definitions, feed: str, due: str, partition: str
) -> None:
    request = request_at(definitions, feed, due)

    assert request.partition_key == partition
    assert request.run_key == partition


def test_tick_that_comes_early_asks_for_the_day_before(definitions: dg.Definitions) -> None:
    assert request_at(definitions, "us", "2024-09-30T16:59:00-04:00").partition_key == "2024-09-29"


@pytest.mark.parametrize(
    ("feed", "zone", "cron"),
    [
        ("cn", "Asia/Shanghai", "1 16 * * *"),
        ("us", "America/New_York", "1 17 * * *"),
        ("coins", "UTC", "1 1 * * *"),
        ("late", "America/New_York", "30 2 * * *"),
    ],
)
def test_ticks_follow_the_exchanges_wall_clock(
    definitions: dg.Definitions, feed: str, zone: str, cron: str
) -> None:
    schedule = definitions.resolve_schedule_def(f"market_sync_{feed}_schedule")

    assert (schedule.execution_timezone, schedule.cron_schedule) == (zone, cron)


def test_partition_of_the_day_exists_when_its_tick_comes(definitions: dg.Definitions) -> None:
    request = request_at(definitions, "cn", "2024-09-30T16:01:00+08:00")
    partitions = definitions.resolve_job_def("market_sync_cn").partitions_def
    assert partitions is not None

    with dg.partition_loading_context(
        effective_dt=datetime.fromisoformat("2024-09-30T08:01:00+00:00")
    ):
        keys = partitions.get_partition_keys()

    assert request.partition_key == keys[-1]


def test_freshness_is_asked_every_hour(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("market_freshness_cn_schedule")

    assert schedule.cron_schedule == "17 * * * *"
    assert schedule.job_name == "market_freshness_cn"
