"""Backfills that were launched in Dagster itself, steered as ours are."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from batch_assets.errors import RequestRefused
from batch_assets.ops.backfills import changes
from batch_assets.ops.status.loads import read_failures
from batch_assets.runs.backfill_gate import open_gate
from batch_assets.runs.backfill_states import BACKFILL_TAG, DAGSTER_BACKFILL_TAG
from batch_assets.runs.backfill_steps import Step
from batch_assets.runs.dagster_backfills import read_status
from batch_assets_tests.ops.backfills.planted import TEN_DAYS, plant_load
from batch_assets_tests.runs.dagster_site import CN, ELSE, NOW, US, Site
from batch_assets_tests.runs.launched_in_dagster import end_in_dagster, launch_job_in_dagster


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Iterator[Site]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Site(postgres, instance)
        yield made
        made.conn.close()


def test_a_killed_run_is_left_to_dagster(site: Site) -> None:
    site.launch("theirs")
    site.adopt()
    run = site.plant_run(
        "theirs", dg.DagsterRunStatus.FAILURE, **{"dagster/will_retry": "true", BACKFILL_TAG: "1"}
    )
    plant_load(site.conn, run, TEN_DAYS[0], "failed", reason="holder_died")
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")

    assert site.drive() == [Step.END]

    assert (site.read().state, site.read().dagster_backfill_ids) == ("failed", ("theirs",))
    retried = changes.retry_failed(site.conn, 1, "bob").backfill
    assert (retried.retry_of, retried.partitions) == (1, 10)


def test_pause_takes_effect_in_its_runs_and_resume_hands_the_rest_to_dagster(site: Site) -> None:
    config = {"ops": {"market__cn__daily_bars": {"config": {"force": True, "symbols": ["a", "b"]}}}}
    site.launch("theirs", config=config)
    run = site.plant_run("theirs", dg.DagsterRunStatus.STARTED)
    gate = open_gate(site.connect, run, "cn", {DAGSTER_BACKFILL_TAG: "theirs"})
    site.adopt()
    plant_load(site.conn, run, TEN_DAYS[0])
    changes.pause(site.conn, 1, "bob")

    assert not gate.may_begin()

    assert (site.drive(), site.read().phase) == ([], "pausing")
    site.end_run(run)
    assert (site.drive(), site.read().phase) == ([Step.REST], "paused")
    end_in_dagster(site.instance, "theirs", "COMPLETED_FAILED")
    assert site.drive() == []
    changes.resume(site.conn, 1, "bob")
    assert site.drive() == [Step.LAUNCH]
    found = site.instance.get_backfill(site.read().dagster_backfill_ids[1])
    assert found is not None
    assert found.asset_backfill_data is not None
    assert found.asset_backfill_data.get_num_partitions() == 9
    assert found.run_config == config
    assert (site.adopt(), found.tags[BACKFILL_TAG]) == ([], "1")


def test_what_resume_launched_is_the_newest_though_the_clock_of_dagster_is_ahead(
    site: Site,
) -> None:
    site.launch("theirs", launched_at=datetime.now(UTC) + timedelta(hours=1))
    site.adopt(datetime.now(UTC))
    changes.pause(site.conn, 1, "bob")
    assert [site.drive(), site.drive()] == [[Step.HOLD], [Step.REST]]
    end_in_dagster(site.instance, "theirs", "CANCELED")
    changes.resume(site.conn, 1, "bob")

    assert site.drive() == [Step.LAUNCH]

    assert site.drive() == []
    assert len(site.read().dagster_backfill_ids) == 2


def test_cancel_ends_it_in_dagster_and_what_dagster_ended_is_canceled_here(site: Site) -> None:
    site.launch("ended-here")
    site.adopt()
    site.launch("ended-there")
    site.adopt()
    changes.cancel(site.conn, 1, "bob")

    assert site.drive() == [Step.STOP]

    seen = read_status(site.instance, "ended-here")
    assert seen is not None
    assert seen.status == "CANCELING"
    for dagster_id in ("ended-here", "ended-there"):
        end_in_dagster(site.instance, dagster_id, "CANCELED")
    assert site.drive() == [Step.END, Step.END]
    assert (site.read(1).state, site.read(2).state) == ("canceled", "canceled")


def test_priority_of_its_runs_is_changed_only_when_somebody_asks(site: Site) -> None:
    site.launch("theirs", tags={"dagster/priority": "no number"})
    site.adopt()
    run_id = site.plant_run("theirs", dg.DagsterRunStatus.NOT_STARTED)
    site.drive()
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    assert "dagster/priority" not in run.tags

    changes.set_priority(site.conn, 1, 7, "bob")
    site.drive()

    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/priority"] == "7"


def test_one_of_several_assets_is_one_for_each_and_ends_as_a_whole_in_dagster(site: Site) -> None:
    site.launch("both", US, CN, ELSE)

    assert [(one.backfill_id, one.asset_key) for one in site.adopt()] == [(1, CN), (2, US)]
    assert site.adopt() == []

    run = site.plant_run("both", dg.DagsterRunStatus.QUEUED, **{"dagster/priority": "9"})
    plant_load(site.conn, run, TEN_DAYS[0])
    assert site.drive() == []
    assert (site.progress(1).success, site.progress(2).success) == (1, 0)
    for change in (changes.pause, changes.cancel):
        with pytest.raises(RequestRefused, match=r"as both together .* cancel both as a whole"):
            change(site.conn, 1, "bob")
    with pytest.raises(RequestRefused, match="as both together"):
        changes.set_priority(site.conn, 2, 7, "bob")

    # The feed alone is held: runs that wait load the others, too.
    changes.pause_feed(site.conn, "cn", "bob")
    assert site.drive() == [Step.HOLD]
    assert site.drive() == [Step.REST]
    queued = site.instance.get_run_by_id(run)
    assert queued is not None
    assert queued.status is dg.DagsterRunStatus.QUEUED
    assert queued.tags["dagster/priority"] == "9"
    seen = read_status(site.instance, "both")
    assert seen is not None
    assert seen.status == "REQUESTED"
    closed = open_gate(site.connect, run, "cn", {DAGSTER_BACKFILL_TAG: "both"})
    assert (closed.may_begin(), closed.backfill_id) == (False, 1)
    other = open_gate(site.connect, run, "us", {DAGSTER_BACKFILL_TAG: "both"})
    assert (other.may_begin(), other.backfill_id) == (True, 2)

    end_in_dagster(site.instance, "both", "COMPLETED_FAILED")
    assert site.drive() == [Step.END]
    changes.resume_feed(site.conn, "cn", "bob")
    assert site.drive() == [Step.LAUNCH]
    assert len(site.read(1).dagster_backfill_ids) == 2
    assert site.read(2).state == "failed"


def test_a_failed_load_is_listed_once_with_the_backfill_of_its_feed(site: Site) -> None:
    site.launch("both", US, CN)
    site.adopt()
    run = site.plant_run("both", dg.DagsterRunStatus.STARTED)
    plant_load(site.conn, run, TEN_DAYS[0], "failed", error=("UnreadableSource", "cut off"))
    site.drive()

    assert [one.backfill_id for one in read_failures(site.conn)] == [1]


def test_a_job_backfill_goes_on_until_its_runs_have_ended(site: Site) -> None:
    began, handed = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    launch_job_in_dagster(site.instance, "job", TEN_DAYS, launched_at=began)
    site.adopt()
    runs = [site.plant_run("job", dg.DagsterRunStatus.STARTED) for _ in range(2)]
    # Dagster calls it completed once all of its runs are in the queue.
    end_in_dagster(site.instance, "job", "COMPLETED", handed)

    assert site.drive() == []

    for key in TEN_DAYS:
        plant_load(site.conn, runs[0], key, started_at=NOW)
    for run in runs:
        site.end_run(run)
    assert site.drive() == [Step.END]
    assert (site.read().state, site.read().ended_at) == ("success", NOW + timedelta(seconds=2))


def test_cancel_takes_runs_of_a_job_backfill_out_of_the_queue(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch_job_in_dagster(site.instance, "job", TEN_DAYS, launched_at=NOW)
    site.adopt()
    queued = site.plant_run("job", dg.DagsterRunStatus.QUEUED)
    active = site.plant_run("job", dg.DagsterRunStatus.STARTED)
    gate = open_gate(site.connect, active, "cn", {DAGSTER_BACKFILL_TAG: "job"})
    end_in_dagster(site.instance, "job", "COMPLETED", NOW)
    # The queue of this instance is none; that of the daemon ends a run as this does.
    monkeypatch.setattr(site.instance.run_coordinator, "cancel_run", site.end_run)
    changes.cancel(site.conn, 1, "bob")

    assert site.drive() == [Step.STOP]

    run = site.instance.get_run_by_id(queued)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert not gate.may_begin()
    assert site.drive() == []
    site.end_run(active)
    assert site.drive() == [Step.END]
    assert site.read().state == "canceled"
