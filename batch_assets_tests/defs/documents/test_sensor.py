import os
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.documents.run_requests import (
    DAYS_PER_TICK,
    Tick,
    evaluate_requests,
)
from batch_assets.errors import ConfigurationError
from batch_assets.ingest.documents.waiting import WaitingDay
from batch_assets.sources.documents.landing import ScanReport
from batch_assets_tests.defs.documents.landing import DAY, DAY_TOO, Landing

PARTITIONS = dg.DailyPartitionsDefinition(start_date="2000-01-01", timezone="UTC", end_offset=1)


def keys_of(result: dg.SensorResult) -> list[str | None]:
    return [request.partition_key for request in result.run_requests or ()]


def tick_of(landing: Landing, *days: WaitingDay, position: str = "") -> Tick:
    return Tick(
        landing.source, PARTITIONS, ScanReport(position=position), list(days), datetime.now(UTC)
    )


def waiting(day: str, *, growing: int = 0, seconds: float = 5, mark: str = "f") -> WaitingDay:
    return WaitingDay(datetime.fromisoformat(day).date(), 3, growing, seconds, mark)


def start_run(landing: Landing, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    """A run as the daemon would have made it."""
    job = landing.definitions().resolve_job_def("document_ingest_inbox")
    tags = {**job.tags, **request.tags, "dagster/partition": request.partition_key or ""}
    run = landing.instance.create_run_for_job(job, tags=tags, status=status)
    assert run.tags["batch_assets/documents"] == "inbox"


def test_new_files_become_one_run_for_each_day(landing: Landing) -> None:
    landing.drop("a.txt", "a")
    landing.drop("b.txt", "b")
    landing.drop("c.txt", "c", day=DAY_TOO)

    result = landing.tick()

    assert keys_of(result) == [DAY, DAY_TOO]
    assert landing.files() == dict.fromkeys(
        [f"{DAY}/a.txt", f"{DAY}/b.txt", f"{DAY_TOO}/c.txt"], "waiting:"
    )


def test_tick_run_twice_asks_for_the_same_runs(landing: Landing) -> None:
    landing.drop("a.txt", "a")

    first, second = landing.tick(), landing.tick()

    keys = [[request.run_key for request in tick.run_requests or ()] for tick in (first, second)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 1


def test_run_that_was_asked_for_reads_the_files_and_the_next_tick_asks_for_nothing(
    landing: Landing,
) -> None:
    landing.drop("a.txt", "a")
    [request] = landing.tick().run_requests or ()
    job = landing.definitions().resolve_job_def("document_ingest_inbox")

    done = job.execute_in_process(
        partition_key=request.partition_key,
        run_config=request.run_config,
        tags=request.tags,
        instance=landing.instance,
    )

    assert done.success
    assert landing.files() == {f"{DAY}/a.txt": "done:ok"}
    after = landing.tick()
    assert keys_of(after) == []
    assert "1 files looked at, 0 new" in str(after.skip_reason)


def test_changed_file_is_asked_for_again(landing: Landing) -> None:
    path = landing.drop("a.txt", "a")
    [first] = landing.tick().run_requests or ()
    path.write_text("another text")
    os.utime(path, (1_600_000_000, 1_600_000_000))

    [second] = landing.tick().run_requests or ()

    assert second.run_key != first.run_key


def test_growing_file_waits_and_its_day_with_it(landing: Landing) -> None:
    landing.drop("a.txt", "a")
    growing = landing.drop("b.txt", "b")
    os.utime(growing)

    result = landing.tick()

    assert keys_of(result) == []
    assert f"{DAY} is still being filled" in str(result.skip_reason)
    assert landing.files()[f"{DAY}/b.txt"] == "growing:"


def test_day_that_is_filled_for_long_is_read_meanwhile(landing: Landing) -> None:
    day = waiting(DAY, growing=1, seconds=61)

    [request] = evaluate_requests(landing.instance, tick_of(landing, day)).runs

    assert request.partition_key == DAY


def test_folder_that_is_listed_in_parts_is_gathered(landing: Landing) -> None:
    landing.settings_lines["files_per_scan"] = "2"
    for number in range(3):
        landing.drop(f"{number}.txt", str(number))

    first = landing.tick()
    second = landing.tick(first.cursor)

    assert (first.cursor, keys_of(first)) == (f"{DAY}/1.txt", [])
    assert (second.cursor, keys_of(second)) == ("", [DAY])


@pytest.mark.parametrize("tags", [{"dagster/partition": DAY}, {}])
def test_day_that_a_run_is_reading_is_left_to_it(landing: Landing, tags: dict[str, str]) -> None:
    landing.drop("a.txt", "a")
    job = landing.definitions().resolve_job_def("document_ingest")
    span = {
        "dagster/asset_partition_range_start": "2024-09-01",
        "dagster/asset_partition_range_end": "2024-09-28",
    }
    landing.instance.create_run_for_job(
        job, tags={**job.tags, **(tags or span)}, status=dg.DagsterRunStatus.STARTED
    )

    result = landing.tick()

    assert keys_of(result) == []
    assert f"{DAY} is being read by a run" in str(result.skip_reason)


def test_run_that_died_is_followed_by_another_but_not_at_once(landing: Landing) -> None:
    day = waiting(DAY)
    [first] = evaluate_requests(landing.instance, tick_of(landing, day)).runs
    start_run(landing, first, dg.DagsterRunStatus.FAILURE)
    tick = tick_of(landing, day)

    at_once = evaluate_requests(landing.instance, tick)
    later = evaluate_requests(
        landing.instance,
        Tick(
            tick.source,
            tick.partitions,
            tick.report,
            tick.waiting,
            tick.now + timedelta(seconds=61),
        ),
    )

    assert at_once.runs == []
    assert "tried again later" in at_once.notes[0]
    assert [request.run_key == first.run_key for request in later.runs] == [False]


def test_what_a_dead_run_left_is_another_set_and_asked_for_at_once(landing: Landing) -> None:
    [first] = evaluate_requests(landing.instance, tick_of(landing, waiting(DAY))).runs
    start_run(landing, first, dg.DagsterRunStatus.FAILURE)

    [second] = evaluate_requests(
        landing.instance, tick_of(landing, waiting(DAY, mark="half of it"))
    ).runs

    assert second.run_key != first.run_key


def test_day_beyond_the_partitions_is_named_and_does_not_stop_the_others(landing: Landing) -> None:
    found = evaluate_requests(
        landing.instance, tick_of(landing, waiting("1999-12-31"), waiting(DAY))
    )

    assert [request.partition_key for request in found.runs] == [DAY]
    assert "1999-12-31 is no partition" in found.notes[0]


def test_tick_asks_for_a_bounded_number_of_days(landing: Landing) -> None:
    first = datetime(2024, 1, 1, tzinfo=UTC)
    days = [waiting((first + timedelta(days=n)).date().isoformat()) for n in range(60)]

    found = evaluate_requests(landing.instance, tick_of(landing, *days))

    assert len(found.runs) == DAYS_PER_TICK
    assert "follow with the next tick" in found.notes[-1]


def test_sensor_is_on_by_default_and_off_by_configuration(landing: Landing) -> None:
    name = "document_ingest_inbox_sensor"
    on = landing.definitions().resolve_sensor_def(name)
    landing.settings_lines["watch"] = "false"
    off = landing.definitions().resolve_sensor_def(name)

    assert on.default_status is dg.DefaultSensorStatus.RUNNING
    assert off.default_status is dg.DefaultSensorStatus.STOPPED
    assert on.minimum_interval_seconds == 20


def test_schedule_looks_at_the_whole_folder_and_asks_for_its_days(landing: Landing) -> None:
    landing.settings_lines |= {"schedule": '"5 * * * *"', "files_per_scan": "1"}
    for day in (DAY, DAY_TOO):
        landing.drop("a.txt", day, day=day)
    definitions = landing.definitions()
    schedule = definitions.resolve_schedule_def("document_ingest_inbox_schedule")

    # A schedule opens its instance by reference, which one in memory does not have.
    with dg.DagsterInstance.local_temp() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            repository_def=definitions.get_repository_def(),
            resources=landing.resources(),
        )
        with context:
            requests = schedule.evaluate_tick(context).run_requests or ()

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert [request.partition_key for request in requests] == [DAY, DAY_TOO]


def test_schedule_that_is_no_cron_expression_is_named(landing: Landing) -> None:
    landing.settings_lines["schedule"] = '"every hour"'

    with pytest.raises(ConfigurationError, match=r"documents\.sources\.inbox\] schedule is 'every"):
        landing.definitions()


def test_no_source_means_no_definitions_and_no_imports(landing: Landing) -> None:
    definitions = build_definitions(
        landing.settings.model_copy(update={"sections": {}}), resources=landing.resources()
    )

    assert list(definitions.resolve_all_asset_keys()) == []
    assert not [name for sensor in definitions.sensors or () if "document" in (name := sensor.name)]


@pytest.mark.long
def test_ticks_over_a_hundred_thousand_waiting_files_are_short(landing: Landing) -> None:
    for day in range(1, 11):
        folder = landing.folder / "inbox" / f"2024-09-{day:02d}"
        folder.mkdir(parents=True)
        for number in range(10_000):
            path = folder / f"{number:05d}.txt"
            path.touch()
            os.utime(path, (1_700_000_000, 1_700_000_000))
    cpu_seconds: list[float] = []
    cursor: str | None = None
    # A tick that runs out of time is continued by the next one.
    while not cpu_seconds or cursor:
        begun = time.process_time()
        result = landing.tick(cursor)
        cpu_seconds.append(time.process_time() - begun)
        cursor = result.cursor
        assert len(cpu_seconds) < 60

    assert landing.rows("SELECT count(*) FROM documents.files WHERE state = 'waiting'") == [
        (100_000,)
    ]
    assert len(keys_of(result)) == 10
    # Of this process: by the clock the other users of the machine would be measured.
    assert max(cpu_seconds) < 5, cpu_seconds
