"""Backfills that were launched in Dagster itself get a number, once, and are counted."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from batch_assets.errors import BackfillOverlaps
from batch_assets.ops.backfills.read import list_backfills, read_audit
from batch_assets.ops.backfills.requests import launch
from batch_assets.runs.backfill_adoption import Adopted
from batch_assets.runs.backfill_gate import open_gate
from batch_assets.runs.backfill_states import BACKFILL_TAG, DAGSTER_BACKFILL_TAG, BackfillState
from batch_assets.runs.backfill_steps import Step
from batch_assets.runs.dagster_backfills import find_backfills
from batch_assets.runs.run_log import find_backfill_id, read_places
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load, request
from batch_assets_tests.runs.dagster_site import CN, ELSE, NOW, US, Site
from batch_assets_tests.runs.launched_in_dagster import (
    OTHER_DAYS,
    bars_of,
    end_in_dagster,
    keep_as_text,
    launch_job_in_dagster,
    repository_of,
)


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Iterator[Site]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Site(postgres, instance)
        yield made
        made.conn.close()


def test_what_was_launched_in_dagster_gets_a_number_once(site: Site) -> None:
    site.launch("theirs", launched_at=NOW - timedelta(minutes=1), tags={"dagster/priority": "3"})

    assert site.adopt() == [Adopted(1, CN, "theirs", 10)]
    assert site.adopt() == []

    found = site.read()
    assert (found.feed, found.first_key, found.last_key) == ("cn", TEN_DAYS[0], TEN_DAYS[-1])
    assert (found.state, found.partitions, found.priority) == (BackfillState.RUNNING, 10, 3)
    assert (found.requested_by, found.dagster_backfill_ids) == ("dagster", ("theirs",))
    assert found.requested_at == found.started_at == NOW - timedelta(minutes=1)
    (entry,) = read_audit(site.conn, action="backfill.", subject="1")
    assert (entry.actor, entry.action) == ("dagster", "backfill.adopt")
    assert entry.detail["dagster_backfill"] == "theirs"
    assert site.drive() == []


def test_all_partitions_of_an_asset_are_adopted(site: Site) -> None:
    site.launch("all", is_all=True)

    (adopted,) = site.adopt()

    # As of the launch: the day itself is the last.
    assert (site.read().first_key, site.read().last_key) == ("2024-01-01", "2025-01-05")
    assert adopted.partitions == 371


def test_two_drivers_that_look_at_once_adopt_it_once(site: Site) -> None:
    for number in range(8):
        site.launch(f"theirs-{number}")

    with ThreadPoolExecutor(6) as pool:
        looks = [pool.submit(site.adopt) for _ in range(6)]
        adopted = [one.dagster_backfill_id for look in looks for one in look.result()]

    assert sorted(adopted) == [f"theirs-{number}" for number in range(8)]
    assert len(list_backfills(site.conn)) == 8
    assert site.conn.execute("SELECT count(*) FROM ops.backfill_partitions").fetchone() == (80,)


def test_ours_and_those_of_other_assets_are_left_alone(site: Site) -> None:
    launch(site.conn, request(), "ann")
    assert site.drive() == [Step.LAUNCH]
    site.launch("foreign", ELSE)

    assert site.adopt() == []

    assert [one.requested_by for one in list_backfills(site.conn)] == ["ann"]


def test_ours_repeated_on_dagsters_pages_is_one_of_its_own_whatever_tags_were_copied(
    site: Site,
) -> None:
    launch(site.conn, request(), "ann")
    site.drive()
    site.launch("again", tags={BACKFILL_TAG: "1"})

    assert [one.backfill_id for one in site.adopt()] == [2]

    tags = {BACKFILL_TAG: "1", DAGSTER_BACKFILL_TAG: "again"}
    assert open_gate(site.connect, "run", "cn", tags).backfill_id == 2
    assert find_backfill_id(site.connect, tags, [CN]) == 2
    assert find_backfill_id(site.connect, {BACKFILL_TAG: "1"}, [CN]) == 1
    assert read_places(site.connect, 2, ()).text_of(TEN_DAYS[2]) == "[3/10]"


def test_ended_ones_are_adopted_as_of_their_end_unless_they_are_old(site: Site) -> None:
    began, ended = NOW - timedelta(hours=3), NOW - timedelta(hours=2)
    site.launch("lately", launched_at=began)
    run = site.plant_run("lately", dg.DagsterRunStatus.SUCCESS)
    for key in TEN_DAYS:
        plant_load(site.conn, run, key)
    end_in_dagster(site.instance, "lately", "COMPLETED_SUCCESS", ended)
    site.launch("old", launched_at=NOW - timedelta(days=2))
    end_in_dagster(site.instance, "old", "COMPLETED_FAILED", NOW - timedelta(days=2))
    site.launch("long", launched_at=NOW - timedelta(days=40))

    assert {one.dagster_backfill_id for one in site.adopt()} == {"lately", "long"}
    assert site.drive() == [Step.END]

    found = next(one for one in list_backfills(site.conn) if one.state.is_final)
    assert (found.state, found.dagster_backfill_ids) == (BackfillState.SUCCESS, ("lately",))
    assert (found.started_at, found.ended_at) == (began, ended)


# Dagster's own words about its cursor.
@pytest.mark.filterwarnings("ignore:implicitly coercing SELECT object")
def test_a_look_asks_dagster_for_what_is_open_or_new_however_much_it_remembers(site: Site) -> None:
    for number in range(120):
        site.launch(f"old-{number}", launched_at=NOW - timedelta(hours=2))
        end_in_dagster(site.instance, f"old-{number}", "COMPLETED_SUCCESS")
    site.adopt(NOW - timedelta(hours=1))
    site.launch("open", launched_at=NOW - timedelta(days=3))
    site.launch("quick", launched_at=NOW - timedelta(minutes=30))
    end_in_dagster(site.instance, "quick", "COMPLETED_SUCCESS")
    # As none can be: it ended before the last look, which would have seen it.
    site.launch("before", launched_at=NOW - timedelta(minutes=90))
    end_in_dagster(site.instance, "before", "COMPLETED_SUCCESS")

    listed = list(find_backfills(site.instance, NOW - timedelta(hours=1)))
    assert [[one.dagster_backfill_id for one in page] for page in listed] == [["open"], ["quick"]]

    assert {one.dagster_backfill_id for one in site.adopt()} == {"open", "quick"}
    assert len(list(find_backfills(site.instance, NOW - timedelta(hours=3)))) == 1 + 3


def test_progress_and_end_are_counted_from_runs_that_began_before_it_had_a_number(
    site: Site,
) -> None:
    site.launch("theirs")
    early = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    gate = open_gate(site.connect, early, "cn", {DAGSTER_BACKFILL_TAG: "theirs"})
    assert (gate.may_begin(), gate.backfill_id) == (True, None)
    plant_load(site.conn, early, TEN_DAYS[0])
    site.adopt()
    assert site.progress().success == 1
    late = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    plant_load(site.conn, late, TEN_DAYS[1], "failed", error=("UnreadableSource", "cut off"))

    assert site.drive() == []

    assert (site.progress().success, site.progress().failed) == (1, 1)
    for key in TEN_DAYS[2:9]:
        plant_load(site.conn, late, key)
    unseen = site.plant_run("theirs", dg.DagsterRunStatus.SUCCESS)
    plant_load(site.conn, unseen, TEN_DAYS[9])
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")
    assert site.drive() == [Step.END]
    assert (site.read().state, site.progress().success) == (BackfillState.PARTIAL, 9)


def test_a_job_backfill_is_that_of_its_asset_in_this_code_location(site: Site) -> None:
    launch_job_in_dagster(site.instance, "job", TEN_DAYS, launched_at=NOW)
    launch_job_in_dagster(site.instance, "far", TEN_DAYS, launched_at=NOW, location="elsewhere")

    assert site.adopt() == [Adopted(1, CN, "job", 10)]


def test_a_request_for_days_that_dagster_loads_is_refused(site: Site) -> None:
    site.launch("theirs")
    site.launch("twice")
    site.adopt()

    with pytest.raises(BackfillOverlaps, match="overlaps backfill 1"):
        launch(site.conn, request(TEN_DAYS[3]), "ann")

    assert len(list_backfills(site.conn)) == 2


@pytest.mark.parametrize("partitions", [None, OTHER_DAYS])
def test_one_that_cannot_be_read_any_more_holds_up_no_other(
    site: Site,
    partitions: dg.PartitionsDefinition[str] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site.launch("gone", US)
    keep_as_text(site.instance, "gone", site.repository)
    site.launch("theirs")
    caplog.set_level(logging.WARNING, "batch_assets")
    site.repository = repository_of(bars_of("cn"), bars_of("us", partitions))

    assert [one.dagster_backfill_id for one in site.adopt()] == ["theirs"]

    assert ("gone" in caplog.text) == (partitions is not None)


@pytest.mark.parametrize("symbol", ["\x00", "\ud800"])
def test_symbols_that_no_text_can_hold_hold_up_no_other(
    site: Site, symbol: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"ops": {"market__cn__daily_bars": {"config": {"symbols": [symbol]}}}}
    site.launch("typed", CN, US, config=config)
    site.launch("theirs")
    caplog.set_level(logging.WARNING, "batch_assets")

    assert [one.dagster_backfill_id for one in site.adopt()] == ["theirs"]

    assert "Dagster backfill typed is not followed" in caplog.text
    assert len(list_backfills(site.conn)) == 1


@pytest.mark.parametrize(
    "config",
    [
        {"ops": ["market__cn__daily_bars"]},
        {"ops": {"market__cn__daily_bars": {"config": {"force": "yes", "symbols": "600000"}}}},
    ],
)
def test_what_was_typed_wrong_is_left_to_dagster(site: Site, config: dict[str, object]) -> None:
    site.launch("theirs", config=config)

    site.adopt()

    assert (site.read().is_forced, site.read().symbols) == (False, ())
